"""The model card: what the starter model is, how it was made, what it scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from starter.quality import Figures, missed, table
from starter.shipping import size_bytes
from starter.world import COLOURS, GROUNDS, SHAPES, SIDE, STYLES, UNSEEN_PAIRS
from webui.files import write_whole

_CARD = """# The starter model

A latent-diffusion model in Stable Diffusion's parts, folder layout and vocabulary, small enough
to ship ({size_mb:.1f} MB) and to draw without a GPU. It knows one little world of simple things,
so that the app does its whole job, drawing and learning new words, on any machine and without
a network. It is no substitute for a real checkpoint.

## What it draws
256×256 pixels. Good settings are in `defaults.json` (20 steps, CFG scale 4).

- Shapes: {shapes}.
- Colours: {colours}.
- Fills: plain, striped, dotted, checkered, each with a second colour.
- Backgrounds: {grounds}.
- Styles: {styles}; without any, flat.
- Sizes small and large; two or three of a kind; on the left, on the right, at the top, at the
  bottom; or two different objects beside or above one another.

Prompts like “a red circle on a blue background”, “three green fish with white dots on a pink
background, watercolor”, “a neon sign of a pink heart next to a green moon”. A prompt may leave
the background out, and the colour of a thing that usually has one; it then gets the usual ones.

## Parts
| part | kind |
|---|---|
| `tokenizer/` | CLIP's, all 49,408 entries |
| `text_encoder/` | CLIPTextModel, 4 layers of width 128 |
| `unet/` | UNet2DConditionModel, (48, 96, 160, 160) channels, attends to words at 8×8 and below |
| `vae/` | AutoencoderKL, 8 times smaller, 4 channels |
| `scheduler/` | DDIM, velocity prediction, zero terminal SNR, trailing timesteps |

The text encoder's rows of words it never read are all the same, of the mean length of those it
did read.

## How it was made
From pictures that a program draws and captions (`starter/`), on two processor cores
and no GPU: the autoencoder (pixels and slopes), then the text encoder alone (it learns to tell
what captions say), and the denoiser, with the text encoder held still, on 14,750 pictures with four
captions each. One in eight of its lessons is about prompt weights: the
colour word is scaled, and the object is as much paler or more vivid.
{made}
They were not made from nothing: autoencoder and inner levels of the denoiser are those of the
earlier model of 128×128 pixels (its denoiser took 10,897 steps of 24 in 241 minutes), gone on with
from there (`--grow-from`) by two processes that averaged their weights, 16 pictures a step.
`python -m starter` makes such a model from nothing; that has not been done for this world yet.
No picture and no text by anyone else went in; the list of the vocabulary's merges is CLIP's (MIT).

Kept out of training: {unseen} pairs of shape and colour (“unseen combinations” below) and the
objects, styles and the fault of `concepts.py`, which new embeddings are tested on. Four pictures
in a hundred are hazy without a word about it, so that there is something for a negative embedding
to be against.

## Scores
In per cent of {prompts} held-out prompts, 20 steps, CFG scale 4: what the prompt says, the picture
shows, as read by a small classifier, which learned on drawn pictures and on such as went through
the autoencoder. The last column is how often that reader is right about drawn pictures, so no
score can be trusted beyond it. “Both” asks for both objects' shapes and colours, each in its place;
“accent” is the second colour of a patterned fill, which covers less than the first. Goals are those
of seen combinations, of “both” that of two objects.

{table}

- Autoencoder: {psnr_db:.1f} dB on held-out pictures.
- `(colour:1.4)` against `(colour:0.6)`, same noise: the reader is surer of the colour in
  {weights_act:.0f} % of prompts.
- Pale pictures, of prompts that name no background: {pale:.0f} %.
- One picture of 20 steps: {picture_s:.1f} s on two cores.
- Goals missed: {missed}.

Measured by `python bench/starter_quality.py --card`.

## What it cannot do
Anything outside its world: no people, no animals but its fish and its cat, no writing. Words
that it never read do nothing sensible. Two objects of the same family of shapes now and then swap
their looks, the second colour of a pattern is not always the one that was asked for (“accent”
above), and small objects lose their pattern. Other sizes than 256×256 were never trained.
"""


def contact_sheet(pictures: np.ndarray) -> Image.Image:
    """Return up to 64 pictures, uint8 ``[n, 256, 256, 3]``, as one image in rows of eight."""
    some = pictures[:64]
    cell = SIDE + 2
    sheet = Image.new("RGB", (8 * cell, -(-len(some) // 8) * cell), "white")
    for place, picture in enumerate(some):
        sheet.paste(Image.fromarray(picture), (place % 8 * cell + 1, place // 8 * cell + 1))
    return sheet


def _made(folder: Path) -> str:
    """Return how long each stage took, from ``training.json`` in the model's folder."""
    file = folder / "training.json"
    if not file.exists():
        return ""
    stages = json.loads(file.read_text(encoding="utf-8"))
    told = (f"{name} {one['steps']} steps in {one['minutes']} min" for name, one in stages.items())
    return f"These weights: {', '.join(told)}."


def write_card(figures: Figures, folder: Path) -> None:
    """Write ``README.md`` with the figures into the model's folder."""
    text = _CARD.format(
        made=_made(folder),
        size_mb=size_bytes(folder) / 1e6,
        shapes=", ".join(SHAPES),
        colours=", ".join(COLOURS),
        grounds=", ".join(GROUNDS),
        styles=", ".join(STYLES[1:]),
        unseen=len(UNSEEN_PAIRS),
        prompts=figures.prompts,
        table=table(figures),
        missed="; ".join(missed(figures)) or "none",
        psnr_db=figures.psnr_db,
        weights_act=100 * figures.weights_act,
        pale=100 * figures.pale,
        picture_s=figures.picture_s,
    )
    write_whole(folder / "README.md", text)
