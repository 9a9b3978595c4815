"""Voxtral TTS as one module (arXiv 2603.25551): a decoder that speaks.

The decoder's hidden state after the last prompt token gives frame 0; each frame, embedded as the sum
of one row per codebook, is the next input. Parameter names and shapes are the published ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbone.decoder import Decoder
from tts.acoustic import AcousticTransformer
from tts.codec import Codec
from tts.config import EMPTY_AUDIO, END_AUDIO, N_SPECIAL_CODES, TtsConfig
from tts.prompt import prompt_ids, rope_positions


class AudioEmbeddings(nn.Module):
    """Rows for text tokens, and rows for codes in one table with an offset per codebook."""

    offsets: Tensor

    def __init__(self, config: TtsConfig):
        super().__init__()
        dim = config.backbone.dim
        self.tok_embeddings = nn.Embedding(config.backbone.vocab_size, dim)
        self.audio_codebook_embeddings = nn.ModuleDict()
        self.audio_codebook_embeddings["embeddings"] = nn.Embedding(config.audio.table_rows, dim)
        offsets = torch.tensor(config.audio.offsets, device="cpu") + N_SPECIAL_CODES
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Raw codes int64 [..., codebooks] to the sum of their rows [..., dim]."""
        rows: Tensor = self.audio_codebook_embeddings["embeddings"](codes + self.offsets)
        return rows.sum(dim=-2)


class TtsModel(Decoder):
    """Backbone, audio table, acoustic transformer and codec.

    `Decoder.forward` over embeddings gives hidden states; the heads are
    `acoustic_transformer.semantic_logits`, `.velocity` (training) and `.next_frame` (speaking).

    Args:
        sizes: From `params.json`.
        encoder: Whether the codec has its encoder; published weights hold none.
    """

    def __init__(self, sizes: TtsConfig, *, encoder: bool = False):
        super().__init__(sizes.backbone)
        self.sizes = sizes
        self.mm_audio_embeddings = AudioEmbeddings(sizes)
        self.acoustic_transformer = AcousticTransformer(sizes.acoustic, sizes.audio)
        self.audio_tokenizer = Codec(sizes.codec, encoder=encoder)

    def fuse(self) -> None:
        """Make speaking quicker, for good: for inference only, after the last move or cast."""
        super().fuse()
        self.acoustic_transformer.fuse()
        self.audio_tokenizer.fold()

    def embed_text(self, ids: Tensor) -> Tensor:
        """Token ids int64 [...] to [..., dim]."""
        out: Tensor = self.mm_audio_embeddings.tok_embeddings(ids)
        return out

    def embed_frames(self, codes: Tensor) -> Tensor:
        """Raw codes int64 [..., codebooks] to [..., dim]."""
        out: Tensor = self.mm_audio_embeddings(codes)
        return out

    def voice_rows(self, codes: Tensor) -> Tensor:
        """Rows of a voice from the raw codes of its reference, [frames, codebooks].

        Returns:
            [frames + 1, dim]: the reference's frames and, as published, an END frame.
        """
        end = torch.full_like(codes[:1], EMPTY_AUDIO - N_SPECIAL_CODES)
        end[:, 0] = END_AUDIO - N_SPECIAL_CODES
        return self.embed_frames(torch.cat([codes, end]))

    def embed_prompt(self, voice: Tensor, text_ids: list[int]) -> Tensor:
        """Embeddings of a whole prompt, [voice rows + text + 5, dim]."""
        ids = torch.tensor(prompt_ids(self.sizes, len(voice), text_ids), device=voice.device)
        x = self.embed_text(ids)
        return torch.cat([x[:2], voice.to(x.dtype), x[2 + len(voice) :]])

    def embed_utterance(
        self, voice: Tensor, text_ids: list[int], codes: Tensor
    ) -> tuple[Tensor, Tensor, int]:
        """One utterance for teacher-forced training.

        Args:
            voice: [rows, dim] from `voice_rows` (or of a stored voice).
            text_ids: Text or phone ids.
            codes: [frames, codebooks] raw codes of the target.

        Returns:
            Embeddings [prompt + frames, dim], RoPE positions [prompt + frames], and the index of
            the hidden state that predicts frame 0; the next ones predict frames 1, 2, …, END.
        """
        prompt = self.embed_prompt(voice, text_ids)
        positions = rope_positions(self.sizes, len(voice), len(text_ids), len(codes))
        x = torch.cat([prompt, self.embed_frames(codes)])
        return x, positions.to(x.device), len(prompt) - 1
