"""What a plan of Terraform's says of each resource."""

from __future__ import annotations

from deployer.tools.terraform_json import Change, plan_changes


def details(action: str = "update", **change: object) -> tuple[str, ...]:
    planned = {"resource_changes": [{"address": "x.a", "change": change}]}
    (found,) = plan_changes(planned, [Change("x.a", action)])
    return found.details


def test_each_attribute_that_changes_is_told_with_both_values() -> None:
    before, after = {"size": "small", "name": "web"}, {"size": "large", "name": "web"}

    assert details(before=before, after=after) == ('size: "small" → "large"',)


def test_what_is_sensitive_before_or_after_stays_hidden() -> None:
    said = details(
        before={"password": "old", "token": "old"},
        after={"password": "new", "token": "new"},
        before_sensitive={"password": True},
        after_sensitive={"token": True},
    )

    assert said == ("password: (sensitive)", "token: (sensitive)")


def test_what_forces_a_replacement_is_named_and_what_the_new_one_is_given_is_not() -> None:
    said = details(
        "replace",
        before={"id": "1", "image": "a"},
        after={"image": "b"},
        after_unknown={"id": True},
        replace_paths=[["image"]],
    )

    assert said == ('image: "a" → "b" (this replaces it)',)


def test_what_only_the_apply_can_know_is_told_so() -> None:
    said = details(before={"address": "10.0.0.1"}, after={}, after_unknown={"address": True})

    assert said == ('address: "10.0.0.1" → (known after apply)',)
