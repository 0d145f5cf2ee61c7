"""Chat templates in the forms that published models use; each written here, with the special tokens of its test."""

from deepseek_runtime.chat import template

DEEPSEEK = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{% set ns = namespace(system='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}"
    "{%- set ns.system = ns.system + message['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system }}"
    "{%- for message in messages %}{%- if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}{%- endif %}"
    "{%- if message['role'] == 'assistant' %}{% set content = message['content'] %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{ '<|assistant|>' + content + '<|eos|>' }}{%- endif %}"
    "{%- endfor -%}{% if add_generation_prompt %}{{ '<|assistant|><think>\\n' }}{% endif %}"
)
CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
HEADERS = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- macro header(role) -%}<|user|>{{ role | upper }}<|assistant|>{{ '\\n\\n' }}{%- endmacro %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
    {{- header('system') ~ date_string ~ "\\n\\n" ~ system_message ~ eos_token }}
{%- endif %}
{%- for message in messages if message.content %}
    {%- set body %}{{ header(message['role']) }}{{ message['content'] | trim }}{{ eos_token }}{% endset %}
    {{- [body, '']|join('') }}
{%- endfor %}
{%- if add_generation_prompt %}{{ header('assistant') }}{%- endif %}
"""
TURNS = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
ALL = {"default": template.default(), "deepseek": DEEPSEEK, "chatml": CHATML, "headers": HEADERS, "turns": TURNS}
SPECIAL = {"bos_token": "<|bos|>", "eos_token": "<|eos|>", "pad_token": "<|pad|>"}
