"""Task files and documents about animals, as people write them for lm-evaluation-harness."""

import json
import random
from pathlib import Path
from typing import Any

ANSWER = "N 11\ufffdpru\ufffdpru."
"""What the model of the golden figures says to some, but for case and punctuation."""
ANIMALS = ("fox", "dog", "bear", "owl", "hare", "lynx")
DATA = """\
dataset_path: json
dataset_kwargs: {data_files: {test: docs.jsonl, train: train.jsonl}}
test_split: test
"""
TASKS = {
    "choice": """\
output_type: multiple_choice
training_split: train
num_fewshot: 1
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: label
metric_list:
- {metric: acc, aggregation: mean, higher_is_better: true}
- {metric: acc_norm, aggregation: mean, higher_is_better: true}
""",
    "same": """\
output_type: multiple_choice
fewshot_split: test
num_fewshot: 1
description: "Tiere. "
target_delimiter: ""
doc_to_text: "{{ question | upper }}:\\n"
doc_to_choice: "{{ choices + ['faule Hunde'] }}"
doc_to_target: "{{ label }}"
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "empty": """\
output_type: multiple_choice
doc_to_text: ""
doc_to_choice: choices
doc_to_target: "{{ choices[label] }}"
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "last": """\
output_type: loglikelihood
doc_to_text: question
doc_to_target: "{{ answer[:1] | lower }}"
metric_list: [{metric: acc}]
""",
    "open": """\
output_type: generate_until
doc_to_text: question
doc_to_target: answer
generation_kwargs: {until: ["\\n"], max_gen_toks: 8, do_sample: false, temperature: 0.0}
metric_list: [{metric: exact_match, ignore_case: true, ignore_punctuation: true}]
""",
}


def documents(count: int = 24) -> list[dict[str, Any]]:
    """The same every time."""
    source, found = random.Random(7), []
    for number in range(count):
        first, second = source.sample(ANIMALS, 2)
        choices = [f"the {name}" if source.random() < 0.5 else name for name in source.sample(ANIMALS, 3)]
        question = f"Zeile {number}: Der {first} springt über {second}"
        answer = ANSWER if number % 12 in (0, 2, 5) else choices[0]
        found.append({"question": question, "choices": choices, "label": source.randrange(3), "answer": answer})
    return found


def write(folder: Path) -> Path:
    """The folder with all of it, which lm-evaluation-harness reads when it is the working directory."""
    made = documents()
    for name, rows in (("docs", made), ("train", [{**row, "question": f"{row['question']}?"} for row in made[:9]])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for name, text in TASKS.items():
        (folder / f"{name}.yaml").write_text(f"task: {name}\n{DATA}{text}", "utf-8")
    return folder
