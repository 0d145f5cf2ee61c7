"""Small tokenizers of the kinds that published models have."""

from collections.abc import Callable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.unit.chat.templates import SPECIAL

ROLES = ("<|user|>", "<|assistant|>", "<|im_start|>", "<|im_end|>", "<think>", "[INST]", "[/INST]")
TEXT = ["the quick brown fox says <|user|> and <|eos|> to a lazy dog, user assistant [INST] 中文 naïve <s>\n\n " * 4]


def byte_level() -> Tokenizer:
    """As DeepSeek's: role tokens are added but not special, the beginning is put before a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\d{1,3}"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_tokens([AddedToken(role, special=False, normalized=False) for role in ROLES])
    tokenizer.post_processor = processors.TemplateProcessing(single="<|bos|> $A", special_tokens=[("<|bos|>", 0)])
    return tokenizer


def swallowing() -> Tokenizer:
    """Special tokens that take the white space around them, and are found in normalized text, too."""
    tokenizer = byte_level()
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.add_special_tokens(
        [AddedToken(role, lstrip=True, rstrip=True, normalized=True) for role in ("<|user|>", "<|end|>", "<|im_end|>")]
    )
    return tokenizer


def unigram() -> Tokenizer:
    """As SentencePiece's: control tokens are pieces like any other, so that letters alone can spell them."""
    pieces = sorted({letter for text in TEXT for letter in text} | set("<|>[]/_▁abcdefghijklmnopqrstuvwxyz"))
    vocabulary = [("<unk>", 0.0), ("<s>", 0.0), *((token, 0.0) for token in SPECIAL.values())]
    vocabulary += [(piece, -5.0) for piece in pieces if piece != " "] + [("▁the", -6.0), ("us", -6.0), ("er", -6.0)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Replace("▁", " ")
    tokenizer.add_special_tokens(["<unk>", "<s>", *SPECIAL.values()])
    tokenizer.add_tokens([AddedToken(role, special=False, normalized=False) for role in ROLES])
    return tokenizer


ALL: dict[str, Callable[[], Tokenizer]] = {"byte level": byte_level, "swallowing": swallowing, "unigram": unigram}
