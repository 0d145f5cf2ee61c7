"""One stage of a TrainingRun: text in, a trained model out, surviving killed pods by its checkpoints."""
