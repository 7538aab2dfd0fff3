"""The author's monitoring list against histories made up for it."""

import pytest

from ear_teacher.config import LossConfig, WatchConfig
from ear_teacher.watching.milestones import ABOVE, BELOW, judge, passed

VGG = LossConfig(perceptual="vgg_l1", perceptual_weight=0.8)


def row(epoch: float, kl: float = 12.0, perceptual: float = 0.6, psnr: float = 19.0) -> dict[str, float]:
    values = {"val/kl": kl, "val/raw/perceptual": perceptual, "val/psnr": psnr}
    return {"epoch": epoch, "images": epoch * 1000, "step": epoch * 10} | values


def found(rows: list, quantity: str, when: float, loss: LossConfig = VGG, watch: WatchConfig = WatchConfig()):  # noqa: B008  # frozen, so shared safely
    (verdict,) = [v for v in judge(rows, watch, loss) if v.quantity == quantity and v.when == when]
    return verdict


def test_a_run_that_does_what_the_author_wrote_is_on_track_everywhere() -> None:
    rows = [row(0, 0.0, 1.0, 10), row(1, 75), row(10), row(30, 10, 0.4, 25), row(50, 10, 0.3, 28)]
    words = {v.verdict for v in judge(rows, WatchConfig(), VGG) if v.quantity != "pictures"}
    assert words == {"on track"}


@pytest.mark.parametrize(
    ("quantity", "value", "word"),
    [("psnr", 17.9, "behind"), ("psnr", 18, "on track"), ("psnr", 20.1, "ahead"),
     ("perceptual", 0.66, "behind"), ("perceptual", 0.55, "on track"), ("perceptual", 0.5, "ahead"),
     ("kl", 21, "behind"), ("kl", 20, "on track"), ("kl", 9, "ahead")],
)  # fmt: skip
def test_better_than_the_range_is_ahead_and_worse_is_behind(quantity: str, value: float, word: str) -> None:
    assert found([row(0), row(10, **{quantity: value})], quantity, 10).verdict == word


def test_between_two_validations_the_value_is_interpolated() -> None:
    verdict = found([row(0, psnr=10), row(8, psnr=18), row(12, psnr=22)], "psnr", 10)
    assert verdict.value == pytest.approx(20)
    assert verdict.verdict == "on track"


def test_a_milestone_the_run_has_not_come_to_is_ahead_only_where_it_is_met_already() -> None:
    rows = [row(0, psnr=25.5, perceptual=0.5)]
    assert found(rows, "psnr", 10).verdict == "ahead"
    assert found(rows, "psnr", 30).verdict == "ahead"
    assert found(rows, "psnr", 50).verdict == "not reached"
    assert found(rows, "perceptual", 30).verdict == "not reached"


def test_the_low_kl_of_an_untrained_network_is_no_lead() -> None:
    assert found([row(0, kl=0.1)], "kl", 30).verdict == "not reached"


def test_a_kl_outside_the_range_comes_with_what_it_means() -> None:
    assert found([row(0), row(10, kl=170)], "kl", 10).note == ABOVE
    assert found([row(0), row(10, kl=1)], "kl", 10).note == BELOW


@pytest.mark.parametrize(
    ("loss", "note"),
    [
        (LossConfig(perceptual_weight=0.3), "the loss uses lpips_alex"),
        (LossConfig(), "the loss uses no perceptual term"),
    ],
)
def test_the_perceptual_loss_is_judged_only_where_it_is_the_authors(loss: LossConfig, note: str) -> None:
    verdict = found([row(0), row(10)], "perceptual", 10, loss)
    assert (verdict.verdict, verdict.value, verdict.note) == ("not measured", None, note)


def test_the_list_can_count_images_in_place_of_epochs() -> None:
    watch = WatchConfig(unit="images", psnr=((5000.0, 18.0, 20.0),))
    verdict = found([row(0, psnr=10), row(4, psnr=18), row(6, psnr=20)], "psnr", 5000, watch=watch)
    assert verdict.sentence == "image 5000: PSNR in dB 19.00, wanted 18-20: on track"


def test_each_milestone_is_told_once_while_a_run_trains() -> None:
    rows = [row(epoch) for epoch in (0, 4, 8, 12, 16)]
    told = [[v.when for v in passed(rows[:n], WatchConfig(), VGG)] for n in range(1, 6)]
    assert told == [[], [1.0], [], [10.0] * 4, []]


def test_pictures_are_left_to_the_eyes() -> None:
    verdict = found([row(0), row(12)], "pictures", 10)
    assert verdict.verdict == "look"
    assert "helix" in verdict.sentence
