"""Tell the split folders of a dataset, such as ``Training`` and ``seg_test``, from folders of classes.

A name alone decides nothing: a class may be called "train", and a split "fold_a". The rules:

1. A name says its split by one of its words, whatever the case, the separators and the other words: ``TRAIN``,
   ``testing``, ``seg_train``, ``trainSet``, ``images-val-2017``. It is sure if the other words mean nothing.
2. Any other such name counts if a second one says another split and is otherwise the same (``seg_train`` and
   ``seg_test``), or has class folders of the same names. ``bullet_train`` and ``test_tube`` remain classes.
3. Of all folders that count, at least one must have folders inside, or nothing else may be beside them. A ``train`` of
   images among other folders of images is a class.
4. A folder that holds only another one of the same split or of no meaning (``train/train``, ``test/images``) is a
   wrapper, which is looked through.
5. What could be both is refused: a single split beside folders that look like classes, and folders of which no name
   says a split but which all have much the same folders inside.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_inception.datasets.listing import contents, has_files
from keras_inception.datasets.splits import Skipped, class_numbers

# Words by which people name splits.
WORDS = {
    "train": re.compile(r"(train|training|trainval|trn|learn|learning)(set|data|images?|imgs)?s?"),
    "validation": re.compile(
        r"(val|valid|validation|validate|validating|dev|development|eval|evaluation)(set|data)?s?"
    ),
    "test": re.compile(r"(test|testing|tst|holdout)(set|data|images?|imgs)?s?"),
}
# Words that say nothing about what is inside a folder.
MEANINGLESS = re.compile(
    r"\d+|images?|imgs?|pictures?|pics?|photos?|data|datasets?|sets?|splits?|folder|dir|files?|all|unknown|unlabell?ed"
    r"|jpe?gs?|pngs?|classes"
)
SHOWN = 4  # folders to name in a message
WAY_OUT = "name the split folders train, validation and test, or give the folder that holds the class folders"


class Named(NamedTuple):
    """What the name of a folder says.

    Attributes:
        split: "train", "validation" or "test".
        rest: the other words of the name that mean something; empty if the name is sure.
    """

    split: str
    rest: str


def said_by(name: str) -> Named | None:
    """Return the split that a folder's name says, or None."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", name)
    words = [word.casefold() for word in re.split(r"[\W_]+", spaced) if word]
    splits = {word: split for word in words for split, known in WORDS.items() if known.fullmatch(word)}
    found = set(splits.values())
    if found == {"train", "validation"}:  # train_val, as Pascal VOC calls what is not its test split
        found = {"train"}
    if len(found) != 1:
        return None
    others = [word for word in words if word not in splits and not MEANINGLESS.fullmatch(word)]
    return Named(found.pop(), " ".join(others))


def split_folders(root: Path, class_names: Sequence[str] | None = None) -> tuple[dict[str, Path], list[Skipped]]:
    """Return the folder of each split in `root`, and the folders beside them; no splits if it has class folders.

    Args:
        root: the folder.
        class_names: the classes, if they are known. Folders of no other names are class folders.

    Raises:
        ValueError: two folders are of one split, or the folders could be splits as well as classes.
    """
    folders, _ = contents(root)
    if class_names is not None and None not in class_numbers([folder.name for folder in folders], class_names):
        return {}, []
    if len(folders) == 1 and not said_by(folders[0].name):
        return _in_only_folder(folders[0])
    named = {folder: said for folder in folders if (said := said_by(folder.name))}
    inside = {folder: _class_names(unwrapped(folder)) for folder in folders}
    counted = {folder: said for folder, said in named.items() if not said.rest or _is_confirmed(folder, named, inside)}
    others = [folder for folder in folders if folder not in counted]
    if not counted:
        _check_not_alike(root, inside)
        return {}, []
    if others and not any(inside[folder] for folder in counted):
        return {}, []
    splits: dict[str, Path] = {}
    for folder, (split, _) in counted.items():
        if split in splits:
            raise ValueError(f"{root} has two {split} folders: {splits[split].name} and {folder.name}")
        splits[split] = folder
    others = [folder for folder in others if has_files(folder)]
    if len(splits) == 1 and (len(others) > 1 or any(inside[folder] for folder in others)):
        (split, folder), *_ = splits.items()
        raise ValueError(
            f"{root} could hold splits or classes: {folder.name} is named as a {split} split and has folders inside, "
            f"but {_listed(others)} beside it are not: {WAY_OUT}"
        )
    skipped = [Skipped(str(folder), "is beside the split folders, and its name says no split") for folder in others]
    classes = _class_names(unwrapped(splits["train"])) if "train" in splits else set()
    return {split: unwrapped(folder, classes) for split, folder in splits.items()}, skipped


def unwrapped(folder: Path, classes: Collection[str] = ()) -> Path:
    """Return the folder inside a folder that only wraps it, however deep, or else the folder itself.

    Args:
        folder: the folder of a split.
        classes: names of classes, casefolded, which are no wrappers.
    """
    while True:
        folders, files = contents(folder)
        if len(folders) != 1 or files or folders[0].name.casefold() in classes:
            return folder
        if not _says_nothing_new(folders[0].name, folder.name):
            return folder
        (folder,) = folders


def _says_nothing_new(name: str, outer: str) -> bool:
    said, around = said_by(name), said_by(outer)
    if said and around:  # train/train and seg_train/train, but not train/bullet_train
        return said == around or (said.split == around.split and not said.rest)
    return name.casefold() == outer.casefold() or bool(MEANINGLESS.fullmatch(name.casefold()))


def _in_only_folder(folder: Path) -> tuple[dict[str, Path], list[Skipped]]:
    """Return the splits in the only folder of a root: those of an unpacked archive, for one."""
    splits, skipped = split_folders(folder)
    return (splits, skipped) if "train" in splits else ({}, [])


def _class_names(folder: Path) -> set[str]:
    """Return the names of the folders in a folder that have files."""
    return {each.name.casefold() for each in contents(folder)[0] if has_files(each)}


def _is_confirmed(folder: Path, named: dict[Path, Named], inside: dict[Path, set[str]]) -> bool:
    """Return whether another folder shows that a name with other words in it means a split."""

    def shows(other: Path) -> bool:
        if named[other].split == named[folder].split:
            return False
        shared = inside[folder] & inside[other]
        return named[other].rest == named[folder].rest or 2 * len(shared) > min(len(inside[folder]), len(inside[other]))

    return any(map(shows, named))


def _check_not_alike(root: Path, inside: dict[Path, set[str]]) -> None:
    """Raise ValueError if two or more folders have much the same folders inside, and no files beside those."""
    most, *others = sorted(inside.values(), key=len, reverse=True) or [set()]
    alike = others and all(len(each) > 1 and 2 * len(each & most) > len(most) for each in others)
    if alike and not any(contents(folder)[1] for folder in inside):
        raise ValueError(
            f"{root} could hold splits or classes: its folders {_listed(inside)} all hold folders of the same names, "
            f"such as {_listed(sorted(most))}: {WAY_OUT}. If they are classes, put their images directly into them"
        )


def _listed(folders: Iterable[Path | str]) -> str:
    names = [each.name if isinstance(each, Path) else each for each in folders]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
