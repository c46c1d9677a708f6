"""How an image becomes what a model takes, as `model.json` states it; `model_form` does it."""

from typing import Annotated, Literal

from pydantic import Field

from digits.core.params import Params

Pixels = Annotated[int, Field(ge=1)]


class Normalisation(Params):
    """What the graph subtracts from a pixel, and what it divides by."""

    mean: float
    std: Annotated[float, Field(gt=0)]
    where: Literal["in the graph"]


class Preprocessing(Params):
    """The form of a model's images.

    size : (height, width)
    method : how a free image becomes one like those that the model learned from. ink-box: what is
        written is cut out, scaled, and centred by its mass, as in MNIST. resize: the whole image is
        fitted into the frame, as its negative if its edge is light.
    background : the value of what is behind
    """

    size: tuple[Pixels, Pixels]
    method: Literal["ink-box", "resize"]
    background: Literal[0]
    normalisation: Normalisation
