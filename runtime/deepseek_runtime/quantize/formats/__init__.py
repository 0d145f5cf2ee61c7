"""The forms that quantized weights are stored in: how each lies in a file, is recognised there, and is read back."""
