"""The page and the table of a watched run."""

from ear_teacher.config import LossConfig, WatchConfig
from ear_teacher.watching.advice import Advice
from ear_teacher.watching.milestones import judge
from ear_teacher.watching.page import Watched, page, table
from tests.watching.test_milestones import row

RIGHT = Advice(
    "training diverges", True, "the loss is nan", "dvc exp run -S train.lr=0.0001", "right", "Smaller steps."
)
WRONG = Advice(
    "still blurred", False, "KL 52", "dvc exp run -S a=1", "wrong", "It raises the KL.", "dvc exp run -S b=2"
)


def watched() -> Watched:
    verdicts = judge([row(0), row(12, kl=170.0, psnr=25.0)], WatchConfig(), LossConfig())
    return Watched(verdicts, [RIGHT, WRONG], "120 steps, 12.0 epochs", ["Step 40: back here from step 55."])


def test_the_page_says_first_how_many_milestones_were_met_and_what_is_wrong() -> None:
    text = page({"v0": watched()})
    assert (
        text.index("## v0")
        < text.index("120 steps, 12.0 epochs. Milestones: 1 behind, 3 ahead")
        < text.index("| milestone")
    )
    assert "Rules that apply: training diverges." in text
    assert "- Step 40: back here from step 55." in text
    assert "| perceptual loss (VGG-L1), epoch 10 | 0.55-0.65 | – | not measured | the loss uses no perceptual" in text


def test_a_rule_stands_with_its_command_its_judgement_and_what_to_do_instead() -> None:
    apply, others = page({"v0": watched()}).split("### Rules that do not apply")
    assert "**Training diverges** (the loss is nan). Their advice: `dvc exp run -S train.lr=0.0001`. *Right.*" in apply
    assert "*Wrong.* It raises the KL. Instead: `dvc exp run -S b=2`." in others


def test_the_table_has_a_row_a_milestone_and_variant() -> None:
    found = table({"v0": watched(), "v1": watched()})
    assert len(found) == 2 * len(watched().verdicts)
    assert set(found["variant"]) == {"v0", "v1"}
    assert list(found.columns[:4]) == ["variant", "quantity", "when", "unit"]
