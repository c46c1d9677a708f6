"""The form of a model's images, as stored in `model.json`; model_form.py applies it."""

from typing import Annotated, Literal

from pydantic import Field

from digits.core.params import Params

Pixels = Annotated[int, Field(ge=1)]


class Normalisation(Params):
    """The mean that the graph subtracts from a pixel, and the standard deviation it divides by."""

    mean: float
    std: Annotated[float, Field(gt=0)]
    where: Literal["in the graph"]


class Preprocessing(Params):
    """The form of a model's images.

    size : (height, width)
    method : brings any image into the form of the training images. ink-box: the ink is cut out,
        scaled, and centred by its mass, as in MNIST. resize: the whole image is fitted into the
        frame, and inverted if its edge is light.
    background : the value of a background pixel
    """

    size: tuple[Pixels, Pixels]
    method: Literal["ink-box", "resize"]
    background: Literal[0]
    normalisation: Normalisation
