"""Make our ears' language model and pocketsphinx's dictionary: `python -m training.ears.language_model`.

Our grammar knows what is said to an agent but not English; the wheel's bundled model knows English
but is slow, because its 72,000 words all compete. The mixture keeps the grammar's words plus the
bundled model's most frequent ones, and for each history mixes both models' probabilities: ours
counts for as much as the grammar has shown of that history. Of the bundled bigrams and trigrams
only those are kept that say much more than their shorter history does, weighted by how often they
matter (pruning by relative entropy).
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pocketsphinx
import typer
from rich.progress import track
from safetensors.numpy import save_file

from asr.language_model import FILE
from cli.output import run_program
from training.ears.arpa import BackoffModel
from training.text.conversation import Conversation, held_out, spoken

_LOG_BASE = math.log(1.0001)  # pocketsphinx's log probabilities
_START, _END = "<s>", "</s>"
_EXTRA_WORDS = {
    "uhuh": "AH HH AH", "erm": "ER M", "personas": "P ER S OW N AH Z", "gpt": "JH IY P IY T IY",
    "assistant's": "AH S IH S T AH N T S",
}  # fmt: skip
_FILLERS = ("um", "um", "uh", "uh", "er", "hmm")
_LEAST = 1e-9  # P of a word that the bundled model does not know
_BIN_FILE = 2  # pocketsphinx's number for its compact trie


@dataclass(frozen=True, slots=True)
class Recipe:
    """What goes into the model."""

    sentences: int = 200_000  # from the grammar
    paused: float = 0.3  # of them, at any word
    filled: float = 0.4  # of those, with an "um" or the like before the pause
    vocabulary: int = 6_000  # words; the grammar's first
    our_share: float = 0.5  # of each probability, for histories the grammar shows often
    half_share_count: float = 20.0  # a history seen this often gets half of `our_share`
    bundled_bigrams: int = 130_000
    trigram_histories: int = 40_000
    bundled_trigrams: int = 130_000
    least_trigram_count: int = 2
    seed: int = 1


class _Counts:
    """What the grammar's sentences show."""

    def __init__(self, recipe: Recipe) -> None:
        text, chance = Conversation(recipe.seed), random.Random(recipe.seed)
        self.one: Counter[str] = Counter()
        self.two: dict[str, Counter[str]] = defaultdict(Counter)
        self.three: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for i in track(range(recipe.sentences), "sentences"):
            sentence = text.say("agent" if i % 5 == 0 else "caller")
            if held_out(sentence):
                continue
            said = spoken(sentence)
            # Pocketsphinx ends an utterance where a caller pauses, which is not always at its end.
            cut = chance.randint(1, len(said)) if chance.random() < recipe.paused else len(said)
            filler = _FILLERS if cut < len(said) and chance.random() < recipe.filled else ()
            for part in ([*said[:cut], *chance.sample(filler, bool(filler))], said[cut:]):
                if part:
                    self._count([_START, *part, _END])

    def _count(self, words: list[str]) -> None:
        self.one.update(words[1:])
        for a, b in itertools.pairwise(words):
            self.two[a][b] += 1
        for a, b, c in zip(words, words[1:], words[2:], strict=False):
            self.three[a, b][c] += 1


def _pronunciations() -> dict[str, list[str]]:
    """Word to its lines in the bundled dictionary (variants are `word(2)`)."""
    lines: dict[str, list[str]] = defaultdict(list)
    with open(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")) as dictionary:
        for line in dictionary:
            lines[line.split()[0].split("(")[0]].append(line.strip())
    for word, phones in _EXTRA_WORDS.items():
        lines.setdefault(word, [f"{word} {phones}"])
    return lines


class Mixture:
    """The grammar's counts and the bundled model, mixed over one vocabulary.

    Args:
        recipe: Sizes and shares.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.counts = _Counts(recipe)
        self.pronunciations = _pronunciations()
        path = pocketsphinx.get_model_path("en-us/en-us.lm.bin")
        self._ask = pocketsphinx.NGramModel.readfile(path).prob
        self.words = self._vocabulary()
        self.targets = [*self.words, _END]
        self.index = {word: i for i, word in enumerate(self.targets)}
        self.one = self._unigrams()
        self.two, self._kept_mass = self._bigrams()

    def _bundled(self, *words: str) -> float:
        """The bundled model's P(last word | words before it)."""
        return max(_LEAST, math.exp(self._ask(list(reversed(words))) * _LOG_BASE))

    def _vocabulary(self) -> list[str]:
        ours = {word for word in self.counts.one if word in self.pronunciations}
        others = [
            word
            for word in self.pronunciations
            if word not in ours
            and len(word) > 1
            and word.replace("'", "").isalpha()
            and word[0] != "'"  # "'em" sounds like "um"
        ]
        others.sort(key=self._bundled, reverse=True)
        return sorted([*ours, *others[: self.recipe.vocabulary - len(ours)]])

    def _unigrams(self) -> np.ndarray:
        ours = np.array([self.counts.one[word] + 1.0 for word in self.targets])
        self._our_one = ours / ours.sum()
        bundled = np.array([self._bundled(word) for word in self.targets])
        share = self.recipe.our_share
        return share * self._our_one + (1 - share) * bundled / bundled.sum()

    def _our_weight(self, seen: Counter[str] | None) -> float:
        count = seen.total() if seen else 0
        return self.recipe.our_share * count / (count + self.recipe.half_share_count)

    def _bigrams(self) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """P(target | history) for every history, and the mass that our vocabulary covers."""
        rows, masses = {}, {}
        for history in track([_START, *self.words], "bigrams"):
            asked = np.array([self._ask([w, history]) for w in self.targets])
            row = np.maximum(np.exp(asked * _LOG_BASE), _LEAST)
            masses[history] = float(row.sum())
            row /= row.sum()
            seen = self.counts.two.get(history)
            weight = self._our_weight(seen)
            rows[history] = ((1 - weight) * row + weight * self._witten_bell(seen)).astype("f4")
        return rows, masses

    def _witten_bell(self, seen: Counter[str] | None) -> np.ndarray:
        """Our own bigram row: a history is trusted as far as it shows more tokens than types."""
        if not seen:
            return self._our_one
        row = len(seen) * self._our_one
        for word, count in seen.items():
            if word in self.index:
                row[self.index[word]] += count
        return row / row.sum()

    def three(self, a: str, b: str, word: str) -> float:
        """P(word | a, b)."""
        seen = self.counts.three.get((a, b))
        weight = self._our_weight(seen)
        p = (1 - weight) * self._bundled(a, b, word) / self._kept_mass[b]
        if seen:
            shorter = float(self.two[b][self.index[word]])
            p += weight * (seen[word] + len(seen) * shorter) / (seen.total() + len(seen))
        return p

    def pruned(self) -> BackoffModel:
        """The n-grams worth keeping."""
        model = BackoffModel(dict(zip(self.targets, self.one.tolist(), strict=True)))
        start_share = self.counts.two[_START].total() / self.counts.one.total()
        weight = {_START: start_share, **dict(zip(self.targets, self.one.tolist(), strict=True))}
        scored: list[tuple[float, str, str]] = []
        for history, row in self.two.items():
            gain = weight[history] * row * np.log(row / self.one)
            best = np.argsort(-gain)[:1000]
            scored += [(float(gain[i]), history, self.targets[i]) for i in best if gain[i] > 0]
        scored.sort(reverse=True)
        kept = {(a, b) for _, a, b in scored[: self.recipe.bundled_bigrams]}
        kept |= {(a, b) for a, s in self.counts.two.items() for b in s if self._known(a, b)}
        for a, b in sorted(kept):
            model.add((a,), b, float(self.two[a][self.index[b]]))
        model.close(2)
        for a, b, word in sorted(self._trigrams(kept, weight, model)):
            model.add((a, b), word, self.three(a, b, word))
        model.close(3)
        return model

    def _known(self, *words: str) -> bool:
        return all(word in self.index or word == _START for word in words)

    def _trigrams(
        self, kept: set[tuple[str, str]], weight: dict[str, float], model: BackoffModel
    ) -> set[tuple[str, str, str]]:
        joint = {
            (a, b): weight[a] * float(self.two[a][self.index[b]]) for a, b in kept if b != _END
        }
        histories = sorted(joint, key=lambda ab: joint[ab], reverse=True)
        scored: list[tuple[float, str, str, str]] = []
        for a, b in track(histories[: self.recipe.trigram_histories], "trigrams"):
            for i in np.argpartition(-self.two[b], 80)[:80]:
                word = self.targets[i]
                p = self.three(a, b, word)
                gain = joint[a, b] * p * math.log(p / model.p((b,), word))
                if gain > 0:
                    scored.append((gain, a, b, word))
        scored.sort(reverse=True)
        chosen = {(a, b, w) for _, a, b, w in scored[: self.recipe.bundled_trigrams]}
        for (a, b), seen in self.counts.three.items():
            if (a, b) in kept:
                often = [w for w, n in seen.items() if n >= self.recipe.least_trigram_count]
                chosen |= {(a, b, w) for w in often if self._known(w)}
        return chosen


def main(
    arpa: Annotated[Path, typer.Option(help="Where to write the readable model.")],
    out: Annotated[Path, typer.Option(help="Where to write the shipped files.")] = Path(
        "asr/sphinx"
    ),
    nano: Annotated[Path, typer.Option(help="Nano's ears, which use it too.")] = Path("asr/nano"),
) -> None:
    """Write conversation.lm.bin and conversation.dict to OUT, the same model for nano, and ARPA."""
    mixture = Mixture(Recipe())
    arpa.parent.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    trigram = mixture.pruned()
    trigram.write(arpa)
    save_file(trigram.tensors(), nano / FILE)
    model = pocketsphinx.NGramModel.readfile(str(arpa))
    model.write(str(out / "conversation.lm.bin"), _BIN_FILE)
    lines = [line for word in mixture.words for line in mixture.pronunciations[word]]
    (out / "conversation.dict").write_text("\n".join(lines) + "\n")
    unsayable = sorted(set(mixture.counts.one) - set(mixture.targets))
    typer.echo(f"{len(mixture.words)} words; no pronunciation for: {', '.join(unsayable)}")


if __name__ == "__main__":
    run_program(main)
