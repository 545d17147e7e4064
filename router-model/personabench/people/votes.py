"""Votes of data sets that can't be in the repository, for those who have their files, by their published columns.

*PRISM* (Kirk et al. 2024, `utterances.jsonl`), *compar:IA* (`votes.parquet`, of the French Ministry of Culture),
*Chatbot Arena* conversations with the ids of who judged (Zheng et al. 2023), and any other table of votes, by the names
of its columns. A file is `.jsonl`, `.jsonl.gz`, `.csv`, `.tsv`, or `.parquet` where pyarrow is installed. Columns are
those of each data set's own card (see `SOURCES`).
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from personabench.people.sets import Vote, length_of

FOLDS = 10
ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".tsv", ".parquet")
FIELDS = ("user", "question", "model_a", "model_b", "winner", "text_a", "text_b")
"""What the columns of an unknown table may be named as; texts may be missing, and then all lengths are alike."""
NEEDED = FIELDS[:5]
FIRST = frozenset({"model_a", "a", "0", "left"})
SECOND = frozenset({"model_b", "b", "1", "right"})
TIES = frozenset({"tie", "tie (bothbad)", "both_bad", "bothbad", "both_equal", "equal", "draw", "none"})
LEAST_VOTES = 8
"""Of a person who counts: with fewer there is nothing to learn from and to judge by."""


class VotesError(ValueError):
    """A file that is missing, or that isn't what its data set's files are; the message says what was expected."""


@dataclass(frozen=True)
class Source:
    """A data set by its published files."""

    file: str
    """Name without ending."""
    needs: tuple[str, ...]
    read: Callable[[Iterator[dict[str, Any]]], Iterator[Vote]]


def read_votes(name: str, root: Path) -> list[Vote]:
    """Votes of people with `LEAST_VOTES` or more, from the folder or file `root`. Raises `VotesError`."""
    source = SOURCES[name]
    rows = (row for path in _find(root, source.file) for row in _rows(path, source.needs))
    return _enough(source.read(rows), root)


def read_table(path: Path, columns: Mapping[str, str]) -> list[Vote]:
    """Votes of any table; `columns`: names of `FIELDS` there. Raises `VotesError`."""
    unknown, missing = [c for c in columns if c not in FIELDS], [f for f in NEEDED if f not in columns]
    if unknown or missing:
        wrong = f"no field {', '.join(unknown)}" if unknown else f"no column is given for {', '.join(missing)}"
        raise VotesError(f"{wrong}; fields are {', '.join(FIELDS)}")
    return _enough(_table(_rows(path, tuple(columns.values())), columns, path), path)


def _prism(rows: Iterator[dict[str, Any]]) -> Iterator[Vote]:
    """Up to four answers to the first prompt of a conversation, each with a score of 1 to 100: every pair is a vote."""
    asked: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if int(row["turn"]) == 0 and row["score"] not in (None, ""):  # later turns are of one LLM against itself
            asked[str(row["user_id"]), str(row["conversation_id"])].append(row)
    for (user, conversation), answers in asked.items():
        for a, b in combinations(sorted(answers, key=lambda row: str(row["model_name"])), 2):
            if a["model_name"] != b["model_name"]:
                first, second = float(a["score"]), float(b["score"])
                won = None if first == second else int(second > first)
                length = (length_of(a["model_response"]), length_of(b["model_response"]))
                yield Vote(user, _fold(conversation), (str(a["model_name"]), str(b["model_name"])), length, won)


def _comparia(rows: Iterator[dict[str, Any]]) -> Iterator[Vote]:
    """Votes on whole conversations."""
    for row in rows:
        pair = (row["model_a_name"], row["model_b_name"])
        chosen, equal = row["chosen_model_name"], _true(row["both_equal"])
        if not row["visitor_id"] or None in pair or pair[0] == pair[1] or not (equal or chosen in pair):
            continue
        won = None if equal else pair.index(chosen)
        length = (_replies(row["conversation_a"]), _replies(row["conversation_b"]))
        question = row["conversation_pair_id"]
        yield Vote(str(row["visitor_id"]), _fold(str(question)), (str(pair[0]), str(pair[1])), length, won)


def _arena(rows: Iterator[dict[str, Any]]) -> Iterator[Vote]:
    """Votes on conversations; `judge` tells people apart."""
    for row in rows:
        pair = (str(row["model_a"]), str(row["model_b"]))
        known, won = _won(row["winner"], pair)
        if known and pair[0] != pair[1]:
            length = (_replies(row["conversation_a"]), _replies(row["conversation_b"]))
            yield Vote(str(row["judge"]), _fold(str(row["question_id"])), pair, length, won)


def _table(rows: Iterator[dict[str, Any]], columns: Mapping[str, str], path: Path) -> Iterator[Vote]:
    def of(row: dict[str, Any], field: str) -> Any:
        return row[columns[field]] if field in columns else None

    seen: set[str] = set()
    for row in rows:
        pair = (str(of(row, "model_a")), str(of(row, "model_b")))
        known, won = _won(of(row, "winner"), pair)
        if not known:
            seen.add(str(of(row, "winner")))
        elif of(row, "user") and pair[0] != pair[1]:
            length = (_replies(of(row, "text_a")), _replies(of(row, "text_b")))
            yield Vote(str(of(row, "user")), _fold(str(of(row, "question"))), pair, length, won)
    if seen:
        said = ", ".join(sorted(seen)[:5])
        raise VotesError(f"{path}: `{columns['winner']}` says {said}; expected a model's name, {_words()}")


# Read in November 2026: the cards of HannahRoseKirk/prism-alignment (with code that reads its scores of 1 to 100 and
# turn 0), ministere-culture/comparia-votes (`visitor_id`: "unique anonymized identifier for the user") and
# lmsys/chatbot_arena_conversations (in shards `data/train-*`; winners: model_a, model_b, tie, tie (bothbad)).
SOURCES: Mapping[str, Source] = {
    "prism": Source(
        "utterances", ("user_id", "conversation_id", "turn", "model_name", "model_response", "score"), _prism
    ),
    "comparia": Source(
        "votes",
        (
            "visitor_id", "conversation_pair_id", "model_a_name", "model_b_name", "chosen_model_name", "both_equal",
            "conversation_a", "conversation_b",
        ),
        _comparia,
    ),
    "arena": Source(
        "chatbot_arena_conversations",
        ("judge", "question_id", "model_a", "model_b", "winner", "conversation_a", "conversation_b"),
        _arena,
    ),
}  # fmt: skip


def _won(said: object, pair: tuple[str, str]) -> tuple[bool, int | None]:
    """Whether a winner is understood, and which side it was; None: neither."""
    text = str(said).strip()
    if text in pair:
        return True, pair.index(text)
    low = text.lower()
    if low in FIRST or low in SECOND:
        return True, int(low in SECOND)
    return low in TIES, None


def _words() -> str:
    return f"{', '.join(sorted(FIRST | SECOND))}, or for a tie {', '.join(sorted(TIES))}"


def _replies(conversation: object) -> float:
    """Logarithm of what an LLM wrote: a text, a list of messages, or that list as JSON."""
    if isinstance(conversation, str) and conversation.lstrip().startswith("["):
        with contextlib.suppress(ValueError):  # then it is a text that begins so
            conversation = json.loads(conversation)
    if not isinstance(conversation, list):
        return length_of("" if conversation is None else str(conversation))
    said = [m for m in conversation if isinstance(m, dict) and m.get("role") == "assistant"]
    return length_of("".join(_text(message.get("content")) for message in said))


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content or "")


def _true(value: object) -> bool:
    return value is True or str(value).lower() in ("true", "1")


def _fold(question: str) -> int:
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "little") % FOLDS


def _enough(votes: Iterator[Vote], path: Path) -> list[Vote]:
    by_user: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_user[vote.user].append(vote)
    kept = [vote for mine in by_user.values() if len(mine) >= LEAST_VOTES for vote in mine]
    if not kept:
        raise VotesError(f"{path}: of {len(by_user)} people nobody has {LEAST_VOTES} votes: nothing to learn from")
    return kept


def _find(root: Path, name: str) -> list[Path]:
    """The file, or the shards that a data set's folder holds."""
    if root.is_file():
        return [root]
    found = [root / f"{name}{ending}" for ending in ENDINGS if (root / f"{name}{ending}").is_file()]
    shards = sorted((root / "data").glob("train-*.parquet"))
    if not found and not shards:
        raise VotesError(
            f"{root}: no file {name} with one of the endings {', '.join(ENDINGS)}, and no data/train-*.parquet"
        )
    return found[:1] or shards


def _rows(path: Path, needs: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Rows with at least the columns `needs`."""
    for number, row in enumerate(_read(path), 1):
        lacks = [name for name in needs if name not in row]
        if lacks:
            raise VotesError(
                f"{path}, row {number}: no {', '.join(lacks)}; it has {', '.join(sorted(row)) or 'nothing'}"
            )
        yield row


def _read(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise VotesError(f"{path}: no such file")
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _json_lines(path)
    elif path.suffix in (".csv", ".tsv"):
        csv.field_size_limit(2**30)  # a field may be a whole conversation
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
    elif path.suffix == ".parquet":
        yield from _parquet(path)
    else:
        raise VotesError(f"{path}: expected one of the endings {', '.join(ENDINGS)}")


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise VotesError(f"{path}, line {number}: not a JSON object")
                yield row
        except (json.JSONDecodeError, UnicodeDecodeError, gzip.BadGzipFile) as error:
            raise VotesError(f"{path}: not JSON Lines: {error}") from error


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise VotesError(f"{path}: reading it takes pyarrow; or convert it to JSON Lines") from error
    for batch in parquet.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()
