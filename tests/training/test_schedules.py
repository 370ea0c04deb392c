"""Tests of learning rate schedules, phases, time budgets and plateaus."""

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_inception.training.recipe import Recipe
from keras_inception.training.schedules import Phase, Plan, learning_rate, phases, plateaus
from keras_inception.training.trainer import extended

STEPS = 4


def rates(recipe: Recipe, *, index=0, plan=None) -> list[float]:
    """Return the learning rate at each step of a phase."""
    phase = phases(recipe)[index]
    rate = learning_rate(recipe, phase, plan or Plan(recipe), STEPS)
    steps = (phase.last - phase.first) * STEPS
    return [float(rate(step)) if callable(rate) else rate for step in range(steps)]


def test_a_cosine_rises_in_the_warmup_and_falls_to_zero():
    course = rates(Recipe(epochs=10, warmup_epochs=2, learning_rate=0.8))
    assert course[0] == pytest.approx(0.1), "the first step should have a nonzero rate"
    assert course[: 2 * STEPS] == sorted(course[: 2 * STEPS])
    assert course[2 * STEPS] == pytest.approx(0.8)
    assert course[6 * STEPS] == pytest.approx(0.4)
    assert 0 < course[-1] < 0.01


def test_a_cosine_without_warmup_begins_at_its_highest_rate():
    assert rates(Recipe(epochs=2, warmup_epochs=0, learning_rate=0.8))[0] == pytest.approx(0.8)


@given(epochs=st.integers(1, 20), warmup=st.floats(0, 1), highest=st.floats(1e-5, 10))
def test_a_rate_stays_between_zero_and_the_highest(epochs, warmup, highest):
    course = rates(Recipe(epochs=epochs, warmup_epochs=warmup * epochs, learning_rate=highest))
    assert -1e-6 * highest <= min(course) <= max(course) <= highest * (1 + 1e-5)


def test_a_short_training_warms_up_for_at_most_half_of_it():
    course = rates(Recipe(epochs=2, warmup_epochs=5, learning_rate=0.8))
    assert course[STEPS] == max(course) == pytest.approx(0.8)


def test_an_exponential_falls_in_steps_as_the_paper_has_it():
    course = rates(
        Recipe(epochs=17, schedule="exponential", decay=0.96, decay_epochs=8, learning_rate=1, warmup_epochs=0)
    )
    assert course[8 * STEPS - 1] == 1
    assert course[8 * STEPS] == pytest.approx(0.96)
    assert course[16 * STEPS] == pytest.approx(0.96**2)


def test_the_rate_drops_after_each_milestone():
    recipe = Recipe(epochs=6, schedule="steps", milestones=(2.0, 4.5), decay=0.1, learning_rate=1, warmup_epochs=0)
    course = rates(recipe)
    assert course[2 * STEPS] == 1, "the last step before the milestone"
    assert course[2 * STEPS + 1] == pytest.approx(0.1)
    assert course[-1] == pytest.approx(0.01)
    thawed = recipe.replace(freeze_epochs=3, thaw_learning_rate=0.5)
    assert rates(thawed, index=1)[0] == pytest.approx(0.05), "a past milestone should have lowered the rate"


def test_frozen_and_thawed_epochs_have_their_own_rates():
    recipe = Recipe(epochs=5, freeze_epochs=2, learning_rate=1, warmup_epochs=1, thaw_learning_rate=0.25)
    assert [(phase.first, phase.last, phase.frozen) for phase in phases(recipe)] == [(0, 2, True), (2, 5, False)]
    assert max(rates(recipe)) == pytest.approx(1)
    assert rates(recipe, index=1)[0] == pytest.approx(0.25), "there should be no second warmup"
    assert phases(recipe.replace(thaw_learning_rate=0.0))[1].learning_rate == 0.1
    assert len(phases(recipe.replace(freeze_epochs=5))) == 1


@pytest.mark.parametrize(
    ("minutes", "seconds", "epochs"),
    [
        (None, [1000.0], 20),
        (2, [], 20),  # nothing measured yet
        (2, [60.0], 3),  # building the graph took half of the first epoch
        (2, [60.0, 10.0], 7),
        (2, [60.0, 10.0, 20.0], 5),
        (2, [60.0, 10.0, 45.0], 3),  # no further epoch fits
        (2, [150.0], 1),
        (60, [60.0, 10.0], 20),
    ],
)
def test_the_plan_fits_the_minutes(minutes, seconds, epochs):
    plan = Plan(Recipe(epochs=20, minutes=minutes))
    for each in seconds:
        plan.add(each)
    assert plan.epochs == epochs
    assert Plan(Recipe(epochs=20, minutes=minutes), seconds).epochs == epochs


def test_a_cosine_follows_the_plan():
    recipe = Recipe(epochs=20, minutes=1, warmup_epochs=0, learning_rate=1)
    plan = Plan(recipe)
    rate = learning_rate(recipe, phases(recipe)[0], plan, STEPS)
    assert float(rate(5 * STEPS)) > 0.5
    plan.add(20.0)
    plan.add(10.0)
    assert plan.epochs == 5
    assert float(rate(5 * STEPS)) == pytest.approx(0)


def test_a_graph_has_the_operations_of_a_schedule_once():
    recipe = Recipe(learning_rate=1)
    rate = learning_rate(recipe, phases(recipe)[0], Plan(recipe), STEPS)

    @tf.function
    def rates(step):
        return rate(step), rate(step)

    for step in (0, 5 * STEPS):
        first, second = rates(tf.constant(step))
        assert first == second == rate(step)
    operations = rates.get_concrete_function(tf.constant(0)).graph.get_operations()
    assert sum(operation.type == "StatelessIf" for operation in operations) == 1


@pytest.mark.parametrize(
    ("accuracies", "patience", "count"),
    [
        ([], 2, 0),
        ([0.1, 0.2, 0.3], 2, 0),
        ([0.3, 0.2, 0.2], 2, 1),
        ([0.3, 0.2, 0.4, 0.3], 2, 0),
        ([0.3, 0.3, 0.3, 0.3, 0.3], 2, 2),
        ([0.3, 0.1, 0.1, 0.5, 0.4, 0.4], 2, 2),
    ],
)
def test_plateaus_are_counted(accuracies, patience, count):
    assert plateaus(list(enumerate(accuracies, start=1)), patience) == count


def test_an_extended_run_has_a_schedule_of_its_own_for_the_rest():
    recipe = extended(Recipe(epochs=4, warmup_epochs=1.0, learning_rate=1.0, minutes=5), 10, done=4)
    assert (recipe.epochs, recipe.extended_at, recipe.minutes) == (10, 4, None)
    assert phases(recipe)[1] == Phase(4, 10, 1.0)
    course = rates(recipe, index=1)
    assert course[0] == pytest.approx(0.25), "an epoch of warmup"
    assert course[STEPS] == pytest.approx(1.0)
    assert course[STEPS:] == sorted(course[STEPS:], reverse=True)
    assert course[-1] < 0.02


def test_an_extended_run_stays_thawed():
    recipe = extended(Recipe(epochs=4, freeze_epochs=2), 8, done=4)
    assert [(phase.first, phase.last, phase.frozen) for phase in phases(recipe)] == [
        (0, 2, True),
        (2, 4, False),
        (4, 8, False),
    ]
    frozen = extended(Recipe(epochs=4, freeze_epochs=4), 8, done=4)
    assert [phase.frozen for phase in phases(frozen)] == [True, False]


def test_a_run_is_not_extended_to_fewer_epochs():
    assert extended(Recipe(epochs=4), 4, done=4) == Recipe(epochs=4)
    with pytest.raises(ValueError, match=r"`epochs` must be more than the 4 that .* finished\. Received: epochs=3"):
        extended(Recipe(epochs=4), 3, done=4)
