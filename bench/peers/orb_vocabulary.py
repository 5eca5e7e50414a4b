"""Trains a vocabulary of ORB descriptors for ORB-SLAM3, where its authors' own (ORBvoc.txt) cannot be had.

    python bench/peers/orb_vocabulary.py OUT.txt SOURCE [SOURCE ...]

A SOURCE is a session or a folder of pictures, searched through; give none of the pictures the peer will be tested on.
The result is NOT its authors' vocabulary: that one has a million words from far more pictures. Its first line says so,
and bench/orbslam3.py repeats it with the numbers. By the words ORB-SLAM3 matches keyframes, finds itself again when
lost and closes loops.

The file is DBoW2's text format. First `k L scoring weighting`, here 0 0: L1 norm, tf-idf; what follows on the line is
not read. Then a line per node but the root, parents first, numbered from 1 by their order: parent, 1 for a leaf, 32
descriptor bytes, weight. No newline ends it, since an empty last line would be read as one more node.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handcap import session

ORIGIN = "home-trained by bench/peers/orb_vocabulary.py"
BRANCHES, LEVELS = 10, 6  # as its authors'
# ORB-SLAM3 groups features by the node LEVELS - 4 below the root, and reads memory not set where a leaf lies above it.
SHALLOWEST_LEAF = LEVELS - 4
ROUNDS = 40  # most settle before
LARGEST_PX = 800  # pictures are shrunk to this, about the size that tracking sees
CORNERS, KEPT = 4000, 1000  # ORB-SLAM3 spreads its corners over the picture, so it meets weak ones too
EVERY = 5  # of a session's pictures one is taken; neighbours look alike
PICTURES = (".png", ".jpg", ".jpeg")

Bits = NDArray[np.float32]  # (n, 256) of -1 and 1


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """Of the tree.

    Attributes:
        parent: its number; 0 is the root.
        leaf: whether it is a word.
        descriptor: (256,) of -1 and 1.
        weight: of a word, log of pictures over pictures that hold it; 0 for others.
    """

    parent: int
    leaf: bool
    descriptor: Bits
    weight: float


def pictures(source: Path) -> Iterator[NDArray[np.uint8]]:
    """Grey pictures of a session's first camera, or of a folder."""
    if (source / "session.json").exists():
        opened = session.read(source)
        for id in opened.takes:
            take = opened.take(id)
            yield from (frame.image for frame in take.frames(take.cameras[0], every=EVERY))
        return
    for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in PICTURES):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is not None:
            yield image.astype(np.uint8)


def descriptors(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(n, 32) of a picture, on ORB-SLAM3's pyramid."""
    factor = min(1.0, LARGEST_PX / max(image.shape))
    shrunk = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    orb = cv2.ORB.create(nfeatures=CORNERS, scaleFactor=1.2, nlevels=8, fastThreshold=7)
    _, found = orb.detectAndCompute(shrunk, np.full(shrunk.shape, 255, np.uint8))
    if found is None:
        return np.empty((0, 32), np.uint8)
    return rng.permutation(found.astype(np.uint8))[:KEPT]


def clusters(bits: Bits, k: int, rng: np.random.Generator) -> tuple[Bits, NDArray[np.intp]]:
    """k-majority: (k', 256) centres and (n,) the nearest of each row, by Hamming distance; no cluster is empty."""
    centres = np.unique(bits[rng.choice(len(bits), min(k, len(bits)), replace=False)], axis=0)
    nearest = np.argmax(bits @ centres.T, axis=1)
    for _ in range(ROUNDS):
        present = np.unique(nearest)
        votes = np.stack([bits[nearest == c].sum(axis=0) for c in present])
        centres = np.where(votes >= 0, np.float32(1), np.float32(-1))
        before, nearest = nearest, np.argmax(bits @ centres.T, axis=1)
        if np.array_equal(before, nearest):
            break
    present, nearest = np.unique(nearest, return_inverse=True)
    return centres[present], nearest


def grow(bits: Bits, picture: NDArray[np.intp], rng: np.random.Generator) -> list[Node]:
    """The tree's nodes, parents first.

    Args:
        bits: (n, 256) all descriptors.
        picture: (n,) which picture each comes from.
    """
    total = len(np.unique(picture))
    nodes: list[Node] = []
    waiting = [(0, 0, np.arange(len(bits)))]
    while waiting:
        following: list[tuple[int, int, NDArray[np.intp]]] = []
        for parent, depth, members in waiting:
            centres, nearest = clusters(bits[members], BRANCHES, rng)
            for c, centre in enumerate(centres):
                inside = members[nearest == c]
                below = depth + 1
                leaf = below >= SHALLOWEST_LEAF and (below == LEVELS or len(inside) < BRANCHES or len(centres) == 1)
                weight = float(np.log(total / len(np.unique(picture[inside])))) if leaf else 0.0
                nodes.append(Node(parent, leaf, centre, weight))
                if not leaf:
                    following.append((len(nodes), below, inside))
        waiting = following
    return nodes


def write_vocabulary(path: Path, nodes: list[Node], note: str) -> None:
    lines = [f"{BRANCHES} {LEVELS} 0 0 {note}"]
    for node in nodes:
        packed = np.packbits(node.descriptor > 0)
        lines.append(f"{node.parent} {int(node.leaf)} {' '.join(map(str, packed.tolist()))} {node.weight:.6g}")
    path.write_text("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("sources", type=Path, nargs="+")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    found = [descriptors(image, rng) for source in args.sources for image in pictures(source)]
    packed = np.concatenate(found)
    picture = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
    bits = np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1
    nodes = grow(bits, picture, rng)
    words = sum(node.leaf for node in nodes)
    note = f"{ORIGIN}: {words} words from {len(packed)} descriptors of {len(found)} pictures"
    write_vocabulary(args.out, nodes, note)
    print(f"{args.out}: {note}")


if __name__ == "__main__":
    main()
