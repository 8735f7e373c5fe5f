from dataclasses import replace

from agecli.inference.ensemble import together
from agecli.inference.prediction import Prediction


def say(model: str, chances: dict[str, float], age: float | None = None) -> Prediction:
    best = max(chances, key=chances.__getitem__)
    return Prediction(
        "face.jpg", model=model, group=best, probability=chances[best], probabilities=chances,
        age=age,
    )  # fmt: skip


def test_probabilities_and_ages_are_averaged():
    joint = together(
        [
            say("cnn", {"0-9": 0.6, "10-19": 0.3, "20+": 0.1}, 8),
            say("resnet", {"0-9": 0.0, "10-19": 0.2, "20+": 0.8}, 31),
            say("capsnet", {"0-9": 0.1, "10-19": 0.8, "20+": 0.1}),
        ]
    )
    assert joint is not None
    assert joint.probabilities == {"0-9": 0.2333, "10-19": 0.4333, "20+": 0.3333}
    assert (joint.group, joint.probability, joint.age) == ("10-19", 0.4333, 19.5)
    assert (joint.agree, joint.models, joint.spread) == (1, 3, 2)


def test_agreement():
    joint = together([say("a", {"0-9": 0.9, "10+": 0.1}), say("b", {"0-9": 0.6, "10+": 0.4})])
    assert joint is not None
    assert (joint.agree, joint.models, joint.spread) == (2, 2, 0)
    assert joint.age is None


def test_the_group_is_the_median_of_the_mean():
    joint = together(
        [
            say("cnn", {"0-9": 0.9, "10-19": 0.1, "20-29": 0.0}, 7),
            say("resnet", {"0-9": 0.0, "10-19": 0.2, "20-29": 0.8}, 25),
        ]
    )
    assert joint is not None
    assert (joint.group, joint.probability) == ("10-19", 0.15)
    assert (joint.between, joint.torn) == (("0-9", "10-19"), True)
    assert joint.doubt == "torn between 0-9 and 10-19"
    assert joint.agree == 0


def test_one_model_speaks_for_itself():
    own = replace(say("a", {"0-9": 0.6, "10-19": 0.4}), group="10-19", probability=0.4, torn=True)
    joint = together([own])
    assert joint is not None
    assert (joint.group, joint.probability, joint.torn, joint.agree) == ("10-19", 0.4, True, 1)


def test_nothing_joint():
    assert together([]) is None
    assert together([Prediction("face.jpg", status="no_face")]) is None
    assert together([say("a", {"0-9": 0.9, "10+": 0.1}), say("b", {"0-29": 1, "30+": 0})]) is None


def test_a_fitted_ensemble_speaks_for_all():
    models = [
        say("a", {"0-9": 0.6, "10-19": 0.3, "20+": 0.1}, 8),
        say("b", {"0-9": 0.0, "10-19": 0.2, "20+": 0.8}),
    ]
    fitted = say("ensemble", {"0-9": 0.2, "10-19": 0.3, "20+": 0.5}, 21)
    for rows in ([fitted, *models], [*models, fitted]):
        joint = together(rows)
        assert joint is not None
        assert (joint.group, joint.probability, joint.age) == ("20+", 0.5, 21)
        assert joint.probabilities == fitted.probabilities
        assert (joint.agree, joint.models, joint.spread) == (1, 2, 2)
