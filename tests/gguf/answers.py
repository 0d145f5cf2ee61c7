"""Runs in llama.cpp's own environment: tokens of texts and greedy answers to prompts, as JSON.

It imports nothing of this project: what is asked comes in a file, the answers go to standard output.
"""

import json
import sys
from pathlib import Path

import numpy as np
from llama_cpp import Llama

asked = json.loads(Path(sys.argv[1]).read_text("utf-8"))
model = Llama(asked["model"], n_ctx=256, n_batch=256, n_threads=1, verbose=False, logits_all=True)
answers = []
for prompt in asked["prompts"]:
    model.reset()
    model.eval(prompt)
    answer: list[int] = []
    while len(answer) < asked["count"]:
        answer.append(int(np.argmax(model.scores[model.n_tokens - 1])))
        model.eval(answer[-1:])
    answers.append(answer)
tokens = [model.tokenize(text.encode(), add_bos=True, special=False) for text in asked["texts"]]
print(json.dumps({"tokens": tokens, "answers": answers}))
