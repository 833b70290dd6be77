"""Texts as token ids: a tokenizer of the training texts alone, and what it makes of every text.

Byte-level byte-pair encoding (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016, on
bytes as in Radford et al., "Language Models are Unsupervised Multitask Learners", 2019): any text of any language can
be encoded, no token is unknown, and training is reproducible, which the library's WordPiece trainer is not. The
tokenizer is one JSON document, which this module and a deployed bundle read alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from automl.data.images import Images, Split
from automl.data.splits import stratified_split
from automl.data.text_files import Texts, read_texts
from automl.errors import Fault, InputError, input_error

PADDING, CLASS_TOKEN = "[PAD]", "[CLS]"  # ids 0 and 1
BYTES = 256
SMALLEST_VOCABULARY = BYTES + 2
SHORTEST, LONGEST = 4, 4096  # tokens
DEFAULT_LENGTH, DEFAULT_VOCABULARY = 64, 2048


def read_text(path: Path, *, length: int, vocabulary: int, shares: Sequence[float], seed: int) -> Images:
    """Return the texts at `path` as token ids, `n x length` (int64, padded with 0), and the tokenizer.

    The tokenizer is trained on those texts that `load_dataset` will train on: neither the validation nor the test part,
    nor copies of texts in them.

    Args:
        path: of a folder or a CSV file; see `read_texts`.
        length: tokens of each text, the first of which stands for the whole; longer texts are cut.
        vocabulary: how many different tokens there are at most.
        shares: of validation and, where the source has no test set of its own, of test; the latter may be given always.
        seed: of the split.

    Raises:
        InputError: naming every fault of the settings, or of the files.
    """
    faults = _setting_faults(length, vocabulary)
    if faults:
        raise InputError(faults)
    texts = read_texts(path)
    labels = np.array(texts.labels(texts.rows), np.int64)
    tokenizer = train_tokenizer(_training_texts(texts, labels, shares, seed), vocabulary)
    rows = (*texts.rows, *(texts.test or ()))
    ids, cut = _encoded(tokenizer, [row.text for row in rows], length)
    count = len(texts.rows)
    test = None if texts.test is None else Split(ids[count:], np.array(texts.labels(texts.test), np.int64))
    warning = f"{cut} of {len(rows)} texts are longer than {length} tokens and were cut"
    return Images(
        name=texts.name,
        pool=Split(ids[:count], labels),
        test=test,
        classes=texts.classes,
        names=[f"line {row.line}" for row in texts.rows],
        pixel_max=vocabulary - 1,
        warnings=(warning,) if cut else (),
        noun="text",
        tokenizer=tokenizer,
        digest=texts.digest,
    )


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> str:
    """Return a tokenizer of at most `vocabulary` tokens for lower-cased texts, as its JSON document.

    Equal texts give equal documents. Id 0 is padding, id 1 the token put before each text, the next 256 are the bytes.

    Args:
        texts: to count pairs in.
        vocabulary: at least `SMALLEST_VOCABULARY`.

    Raises:
        InputError: where the package tokenizers is missing.
    """
    library = _tokenizers()
    normalizers, split = library.normalizers, library.pre_tokenizers.ByteLevel
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()])
    tokenizer.pre_tokenizer = split(add_prefix_space=True)
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PADDING, CLASS_TOKEN],
        initial_alphabet=sorted(split.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = library.processors.TemplateProcessing(
        single=f"{CLASS_TOKEN} $A", special_tokens=[(CLASS_TOKEN, tokenizer.token_to_id(CLASS_TOKEN))]
    )
    return str(tokenizer.to_str())


def encode_texts(tokenizer_json: str, texts: Sequence[str], length: int) -> np.ndarray:
    """Return the ids of the texts' tokens, `n x length` (int64): cut where longer, filled up with 0 where shorter.

    A bundle's `predict.py` does the same to raw lines.

    Raises:
        InputError: where the package tokenizers is missing.
    """
    return _encoded(tokenizer_json, texts, length)[0]


def _encoded(tokenizer_json: str, texts: Sequence[str], length: int) -> tuple[np.ndarray, int]:
    """Return the ids, and how many texts were cut."""
    tokenizer = _tokenizers().Tokenizer.from_str(tokenizer_json)
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=0, pad_token=PADDING)
    encodings = [tokenizer.encode(text) for text in texts]  # one by one: a batch would start threads of its own
    ids = np.array([encoding.ids for encoding in encodings], np.int64).reshape(len(texts), length)
    return ids, sum(bool(encoding.overflowing) for encoding in encodings)


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        remedy = "Install the extra: pip install 'automl[text]'."
        raise input_error("data.source text", "usable with the package tokenizers", "no such package", remedy) from None
    return tokenizers


def _setting_faults(length: int, vocabulary: int) -> list[Fault]:
    faults = []
    if not SHORTEST <= length <= LONGEST:
        faults.append(Fault("data.length", f"from {SHORTEST} to {LONGEST} tokens", str(length)))
    if vocabulary < SMALLEST_VOCABULARY:
        expected = f"at least {SMALLEST_VOCABULARY}: one token for each byte, and two special ones"
        faults.append(Fault("data.vocabulary", expected, str(vocabulary)))
    return faults


def _training_texts(texts: Texts, labels: np.ndarray, shares: Sequence[float], seed: int) -> list[str]:
    """Return the texts that will be trained on: split as `load_dataset` splits, without what the other parts hold."""
    used = shares[:1] if texts.test is not None else shares
    *held_out, training = stratified_split(labels, used, np.random.default_rng([seed, 0]))
    others = {texts.rows[index].text.lower() for part in held_out for index in part}
    others |= {row.text.lower() for row in texts.test or ()}
    return [texts.rows[index].text for index in training if texts.rows[index].text.lower() not in others]
