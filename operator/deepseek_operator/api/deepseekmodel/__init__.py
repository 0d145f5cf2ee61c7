"""DeepSeekModel: weights, their proof, their variants. What is asked of a part and what is said of it stand together."""
