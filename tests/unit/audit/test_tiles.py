from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.audit.tree.tiles import Tile, parse_path, tiles_of

TILES = st.builds(Tile, st.one_of(st.none(), st.integers(0, 63)), st.integers(0, 10**18 - 1), st.one_of(st.integers(1, 255), st.just(256)))


@given(TILES)
def test_a_path_says_the_tile(tile: Tile) -> None:
    """Written and read back, whatever the level, index and width."""
    assert parse_path(tile.path) == tile


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(63, 1000, 1), "tile/63/x001/000.p/1"),
        (Tile(None, 999, 255), "tile/entries/999.p/255"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    """Its own example among them."""
    assert tile.path == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/X001/002",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/data/000",
        "tile/entries",
        "tile/entries/000.p",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/1/",
        "tile/0/000/",
        "tile/0//000",
        "tile//000",
        "/tile/0/000",
        "tile/0/../0/000",
        "tile/0/000.p/../../checkpoint",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/٠/000",
        "tile/0/x1e3/000",
        "tile/0/" + "x999/" * 40 + "999",
        "tile/0/000?x",
        "tile/0/%30%30%30",
        "tile/0/000\x00",
    ],
)
def test_every_other_way_to_write_a_path_is_refused(path: str) -> None:
    """One tile, one path: neither leading zeros nor other digits, nor a way out."""
    assert parse_path(path) is None


def test_the_tiles_of_a_tree_are_those_of_the_specification() -> None:
    """Its own example: 70,000 records."""
    tiles = list(tiles_of(70_000))
    hashes = [tile for tile in tiles if tile.level is not None]
    assert [tile for tile in tiles if tile.level is None] == [Tile(None, tile.index, tile.width) for tile in hashes if tile.level == 0]
    assert sum(tile.full for tile in hashes if tile.level == 0) == 273
    assert [tile for tile in hashes if not tile.full] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert [tile for tile in tiles_of(256) if tile.level is not None] == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []


@given(st.integers(1, 200_000), TILES)
def test_only_what_a_tree_has_is_within_it(size: int, tile: Tile) -> None:
    """Each of its tiles, and nothing beyond its last complete hash of that level."""
    assert tile.within(size) == ((tile.index * 256 + tile.width) * 256 ** (tile.level or 0) <= size)


@given(st.integers(1, 200_000))
def test_all_tiles_of_a_tree_are_within_it_and_none_of_a_smaller_one_has_more(size: int) -> None:
    """The last of each level ends where the tree does."""
    for tile in tiles_of(size):
        assert tile.within(size)
        if not tile.full:
            assert not Tile(tile.level, tile.index, tile.width + 1).within(size)
