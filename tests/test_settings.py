"""Text for a setting becomes a validated value, or an error that names the setting, the value and what is allowed."""

import pytest

from pkt_bench.errors import RequestError
from pkt_bench.settings import AdapterSettings, parse_settings


def test_text_is_read_as_the_field_s_type():
    given = {"rank": "8", "learning_rate": "1e-4", "modules": "q_proj,v_proj", "alpha": "none", "train_records": "5"}

    chosen = parse_settings("lora", AdapterSettings, given)

    assert (chosen.rank, chosen.learning_rate, chosen.modules) == (8, (1e-4,), ("q_proj", "v_proj"))
    assert (chosen.alpha, chosen.train_records) == (None, 5)


@pytest.mark.parametrize(
    ("given", "phrases"),
    [
        ({"rnk": "8"}, ["lora has no setting 'rnk'. Did you mean 'lora.rank'?", "Settings: epochs"]),
        ({"rank": "0"}, ["lora.rank = '0' will not do", "at least 1 is wanted", "--set lora.rank=VALUE"]),
        ({"rank": "eight"}, ["lora.rank = 'eight' will not do", "a whole number is wanted"]),
        ({"learning_rate": "nan"}, ["lora.learning_rate = 'nan' will not do"]),
        ({"modules": "q_prj"}, ["lora.modules", "q_proj"]),
        ({"lora_dropout": "1.0"}, ["less than 1 is wanted"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(given, phrases):
    with pytest.raises(RequestError) as caught:
        parse_settings("lora", AdapterSettings, given)

    for phrase in phrases:
        assert phrase in str(caught.value)


def test_a_scaling_of_one_is_the_default_whatever_the_rank():
    assert AdapterSettings(rank=4).scaling == 1.0
    assert AdapterSettings(rank=4, alpha=8).scaling == 2.0
