"""Sheets of pictures: every tile where it belongs, words above; what the gallery's list names is there."""

import numpy as np
import pytest
import torch
from PIL import Image

from vp.lab import gallery


def tiles(*colours, size=(40, 20)):
    """One plain picture per colour: (n, 3, H, W)."""
    return torch.tensor(colours, dtype=torch.float32)[:, :, None, None].expand(-1, 3, size[1], size[0])


def test_a_sheet_has_every_tile_in_its_place_and_words_above_each_block():
    red, green, blue = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    sheet = gallery.sheet([("one", "two rows", [tiles(red, green), tiles(blue)]), ("other", "", [tiles(green)])], gap=6, band=34)
    a = np.asarray(sheet)
    assert a.shape == (2 * 34 + 3 * 26, 2 * 40 + 6, 3)
    for (x, y), colour in {(0, 34): red, (46, 34): green, (0, 60): blue, (0, 120): green}.items():
        assert (a[y : y + 20, x : x + 40] == 255 * np.array(colour)).all(), (x, y)
    assert (a[34:54, 40:46] == 255).all(), "white between tiles"
    assert (a[60:80, 46:] == 255).all(), "no second tile in the second row"
    for top in (0, 86):
        assert (a[top : top + 34].min(-1) < 100).sum() > 30, "a heading"
    assert (gallery.sheet([("", "", [tiles(red)])], gap=0, band=0).size) == (40, 20)


def test_saved_pictures_keep_their_colours(tmp_path):
    rng = torch.Generator().manual_seed(0)
    image = gallery.sheet([("", "", [torch.rand(3, 3, 8, 8, generator=rng).repeat_interleave(8, 2).repeat_interleave(8, 3)])], band=0)
    gallery.save(image, tmp_path / "a.jpg")
    back = np.asarray(Image.open(tmp_path / "a.jpg")).astype(int)
    assert np.abs(back - np.asarray(image)).mean() < 6


def test_twins_sheet_names_each_split_and_shows_all_pictures(tmp_path, monkeypatch):
    loaded = []

    class Tiny:
        people = range(3)

        def scenes(self, n, seed):
            return n

        def pictures(self, n, size):
            return torch.zeros(n, 3, size[1], size[0])

    monkeypatch.setattr(gallery, "load", lambda name, split: (loaded.append((name, split)), Tiny())[1])
    shown = []
    monkeypatch.setattr(gallery, "sheet", lambda blocks: (shown.extend(blocks), Image.new("RGB", (4, 4)))[1])
    gallery.twins(tmp_path / "t.jpg", n=12, columns=6)
    assert loaded == list(gallery.TWINS)
    assert [heading for heading, *_ in shown] == [f"{name} {split}" for name, split in gallery.TWINS]
    assert all([len(row) for row in rows] == [6, 6] for *_, rows in shown)
    assert all("cast of 3" in remark and len(remark) < 110 for _, remark, _ in shown), "legible: no remark runs out of the sheet"


@pytest.mark.parametrize("name", gallery.PICTURES)
def test_every_picture_is_there_and_listed(name):
    assert f"`{name}`" in (gallery.FOLDER / "README.md").read_text(encoding="utf-8")
    assert (gallery.FOLDER / name).stat().st_size < 1_000_000
