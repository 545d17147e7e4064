"""Sizes and names that all parts of the network share. Letters as in ARTIFACT.md."""

from __future__ import annotations

from dataclasses import asdict, dataclass

KINDS = ("outcome", "rating", "thumb", "preference", "regeneration", "edit", "continuation", "abort", "judge")
PARTS = ("base", "quality", "cost", "length", "liking")
OUTCOME, RATING, THUMB, JUDGE = 0, 1, 2, 8
MOST_LOG_TOKENS = 10.37  # 32,000 tokens
SATURATIONS = (3e-4, 3e-3, 3e-2)  # dollars at which a cost counts half: what a linear dislike of dollars needs
NON_LINEAR = 6 + len(SATURATIONS)  # features of the user beside the linear ones: see `UserFeatures`


@dataclass(frozen=True)
class Sizes:
    """Sizes of everything that the manifest's `dims` name, and of what is inside the graphs."""

    query: int = 256  # E
    card: int = 36  # F
    provider_code: int = 8  # P
    name_code: int = 24  # C
    known_tasks: int = 18  # told apart in training
    tasks: int = 6  # T, groups of them: what a user's taste may depend on
    difficulties: int = 8
    verbosities: int = 4
    hidden: int = 128
    components: int = 4  # J
    kin: int = 64  # known LLMs that a new one may resemble
    blocks: int = 4  # W, of a user's messages: see `UserNode`
    block_rewards: int = 12

    @property
    def quality(self) -> int:
        """D."""
        return self.known_tasks + self.difficulties

    @property
    def length(self) -> int:
        """L."""
        return self.known_tasks + self.verbosities

    @property
    def user(self) -> int:
        """K: features of a (query, LLM) pair as a user sees it."""
        return 3 * (1 + self.tasks) + 1 + NON_LINEAR + self.provider_code + self.name_code

    @property
    def z(self) -> int:
        """Z: quality weights, length weights, popularity, two prices, two codes, and the card's own quality weights."""
        return self.quality + self.length + 3 + self.provider_code + self.name_code + self.quality

    @property
    def llm_message(self) -> int:
        """V: packed precision and information of quality, of length, and of popularity."""
        return sum(n * (n + 1) // 2 + n for n in (self.quality, self.length, 1))

    @property
    def belief(self) -> int:
        """Packed precision and information of the preference weights."""
        return self.user * (self.user + 1) // 2 + self.user

    @property
    def user_message(self) -> int:
        """G: what a reward says of the preference weights at face value, what it says if the rater is lenient, and two
        numbers about how lenient.
        """
        return 2 * self.belief + 2

    @property
    def user_sums(self) -> int:
        """H: sums of messages to a user, block by block."""
        return self.blocks * self.user_message

    @property
    def state(self) -> int:
        """S: posterior mean and covariance, unpacked because scoring would pay for unpacking it."""
        return self.user * (self.user + 1)

    def as_dict(self) -> dict[str, int]:
        """For a checkpoint."""
        return asdict(self)
