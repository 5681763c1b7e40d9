"""An independent, slow and obvious encoder of prompts, for exact comparison.

It follows AUTOMATIC1111's behaviour from its description, shares no code with ``webui``, and puts
embeddings into prompts in another way: as new words at the end of a copy of the vocabulary.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping

import torch
from torch import Tensor

BOS, EOS, COMMA = 49406, 49407, 267


def weighted_pieces(prompt: str) -> list[tuple[str, float]]:
    """Attention by hand: one character at a time, with a list of open brackets."""
    letters: list[list] = []  # [character, weight]
    opened: list[tuple[str, int]] = []
    index = 0

    def scale(start: int, factor: float) -> None:
        for letter in letters[start:]:
            letter[1] *= factor

    while index < len(prompt):
        char = prompt[index]
        number = re.match(r":\s*(-?\d*\.?\d+)\s*\)", prompt[index:])
        if char == "\\" and prompt[index + 1 : index + 2] in tuple("()[]\\"):
            letters.append([prompt[index + 1], 1.0])
            index += 1
        elif char in "([":
            opened.append((char, len(letters)))
        elif char == ")" and opened and opened[-1][0] == "(":
            scale(opened.pop()[1], 1.1)
        elif char == "]" and opened and opened[-1][0] == "[":
            scale(opened.pop()[1], 1 / 1.1)
        elif number and opened and opened[-1][0] == "(":
            scale(opened.pop()[1], float(number[1]))
            index += len(number[0]) - 1
        else:
            letters.append([char, 1.0])
        index += 1
    for bracket, start in reversed(opened):
        scale(start, 1.1 if bracket == "(" else 1 / 1.1)
    pieces: list[tuple[str, float]] = []
    for char, weight in letters:
        if pieces and abs(pieces[-1][1] - weight) < 1e-12:
            pieces[-1] = (pieces[-1][0] + char, weight)
        else:
            pieces.append((char, weight))
    return pieces


def chunks_of(prompt: str, tokenizer, embeddings: Mapping[str, Tensor]) -> list[list[tuple]]:
    """Lay a prompt out: each chunk is a list of up to 75 (what, weight).

    ``what`` is a token id or (name, number of the vector).
    """
    names = {
        tuple(tokenizer(name, add_special_tokens=False)["input_ids"]): name for name in embeddings
    }
    chunks: list[list[tuple]] = [[]]
    for text, weight in weighted_pieces(prompt):
        for number, between in enumerate(re.split(r"\s*\bBREAK\b\s*", text)):
            if number:
                chunks.append([])
            ids = tokenizer(between, add_special_tokens=False)["input_ids"]
            while ids:
                found = [key for key in names if tuple(ids[: len(key)]) == key]
                if found:
                    key = max(found, key=len)
                    name = names[key]
                    group = [((name, row), weight) for row in range(len(embeddings[name]))]
                    ids = ids[len(key) :]
                else:
                    group = [(ids[0], weight)]
                    ids = ids[1:]
                place(chunks, group)
    if len(chunks) > 1 and not chunks[-1]:
        chunks.pop()
    return chunks


def place(chunks: list[list[tuple]], group: list[tuple]) -> None:
    """Put a token, or all vectors of an embedding, into the last chunk or a new one."""
    last = chunks[-1]
    if len(last) == 75 and group[0][0] != COMMA:
        commas = [index for index, (what, _) in enumerate(last) if what == COMMA]
        if commas and 75 - commas[-1] <= 20:
            chunks.append(last[commas[-1] + 1 :])
            del last[commas[-1] + 1 :]
    if len(chunks[-1]) + len(group) > 75:
        chunks.append([])
    chunks[-1].extend(group)


def encode(
    prompt: str,
    tokenizer,
    text_model,
    embeddings: Mapping[str, Tensor],
    layer: int = -1,
    norm: bool = True,
    pad: int = EOS,
    restore_mean: bool = True,
    pooled: bool = False,
):
    """Return ``[77k, width]`` (and the pooled output of the first chunk), chunk by chunk.

    ``layer`` counts hidden states from the end: -1 the last, -2 the penultimate.
    """
    model = copy.deepcopy(text_model)
    clip = getattr(model, "text_model", model)
    table = model.get_input_embeddings()
    row_ids: dict[tuple[str, int], int] = {}
    rows = [table.weight.data]
    for name, vectors in embeddings.items():
        for number in range(len(vectors)):
            row_ids[name, number] = 49408 + len(row_ids)
        rows.append(vectors)
    table.weight = torch.nn.Parameter(torch.cat(rows))
    results, first_pooled = [], None
    for chunk in chunks_of(prompt, tokenizer, embeddings):
        ids = [BOS] + [row_ids.get(what, what) for what, _ in chunk] + [EOS]
        weights = [1.0] + [weight for _, weight in chunk] + [1.0]
        ids += [pad] * (77 - len(ids))
        weights += [1.0] * (77 - len(weights))
        with torch.no_grad():
            out = model(torch.tensor([ids]), output_hidden_states=True)
            z = out.hidden_states[layer][0]
            if norm:
                z = clip.final_layer_norm(z)
        if pooled and first_pooled is None:
            first_pooled = out.text_embeds[0]
        weighted = torch.stack([z[index] * weights[index] for index in range(77)])
        if restore_mean:
            weighted = weighted * (z.mean() / weighted.mean())
        results.append(weighted)
    result = torch.cat(results)
    return (result, first_pooled) if pooled else result
