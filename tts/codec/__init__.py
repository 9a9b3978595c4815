"""The codec: waveforms to codes at 12.5 frames a second, and back."""

from tts.codec.codec import Codec
from tts.codec.past import Past
from tts.codec.quantizer import Quantized

__all__ = ["Codec", "Past", "Quantized"]
