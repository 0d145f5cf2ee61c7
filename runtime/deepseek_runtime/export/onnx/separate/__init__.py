"""Programs that run in the environment of Optimum, whose transformers is an older one.

They import nothing else of this runtime, and are told by a JSON file what to do. `environment.run` starts them.
"""
