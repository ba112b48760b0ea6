"""Every field of every answer has its sentence, and answers say nothing that the rules forbid."""

import re

import pytest

from leadline.service.queries.sentences import ANSWERS, about, sentences, structs_of

EVERY = sorted({kind for answer in ANSWERS.values() for kind in structs_of(answer)}, key=lambda kind: kind.__name__)
NEVER = re.compile(r"\b(spoof|manipulat|detected|imminent|will (rise|fall)|you should|recommend|guarantee)", re.IGNORECASE)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_field_of_an_answer_has_one_sentence(kind):
    said = sentences(kind)
    assert list(said) == list(kind.__struct_fields__)
    assert all(text.endswith(".") and len(text) > 3 for text in said.values())
    assert about(kind)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_no_sentence_forecasts_advises_or_claims_intent(kind):
    assert [text for text in (about(kind), *sentences(kind).values()) if NEVER.search(text)] == []


def test_a_field_without_a_sentence_is_seen():
    from msgspec import Struct

    class Half(Struct):
        """What it is.

        told: Something.
        """

        told: int
        untold: int

    assert sentences(Half) == {"told": "Something."}
