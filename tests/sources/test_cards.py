"""Source cards, loud about what is unknown; leakage by data set and by file; the glossary and fixed sentences."""

from __future__ import annotations

import pytest

from cxrkeras.errors import ConfigError
from cxrkeras.sources import (
    SourceCard,
    built_in_card,
    cards_table,
    glossary_table,
    parse_candidate,
    read_cards,
    saw_target,
)
from cxrkeras.sources.cards import filled
from cxrkeras.sources.words import EXPECTATION

RAD = "rad=ResNet50:RadImageNet-ResNet50_notop.h5"


def test_what_nobody_filled_is_unknown_and_counted():
    assert set(SourceCard().unknown_fields) == set(SourceCard.model_fields)
    known = built_in_card(parse_candidate(RAD))
    assert (known.n_images, known.n_patients, known.n_classes) == (1_350_000, 131_872, 165)
    assert known.preprocess == "caffe/255"
    assert {"population", "label_source", "sha256"} <= set(known.unknown_fields)
    assert "licence" not in known.unknown_fields
    assert built_in_card(parse_candidate("x=ResNet50:a.h5:torch")) == SourceCard(preprocess="torch")
    assert built_in_card(parse_candidate("r=compact:random")).n_images == 0


def test_cards_are_read_by_candidate_and_laid_over_what_is_built_in(tmp_path):
    file = tmp_path / "cards.yaml"
    file.write_text(
        "rad:\n  population: adults, US\n  saw: NIH, CheXpert\n  n_images:\n"
        "mine: {modality: X-ray, classes: [NORMAL, PNEUMONIA], n_images: 12, input_size: 224}\n"
    )
    cards = read_cards(file)
    assert cards["rad"].saw == ("NIH", "CheXpert")
    assert cards["rad"].n_images == "unknown"
    assert (cards["mine"].classes, cards["mine"].input_size) == (("NORMAL", "PNEUMONIA"), "224")
    laid = filled(built_in_card(parse_candidate(RAD)), cards["rad"])
    assert (laid.population, laid.n_images, laid.saw) == ("adults, US", 1_350_000, ("NIH", "CheXpert"))
    table = cards_table([("rad", laid), ("mine", cards["mine"])])
    assert table.columns.tolist() == ["candidate", "field", "value"]
    values = table.set_index(["candidate", "field"])["value"]
    assert (values["rad", "n_patients"], values["rad", "saw"]) == ("131872", "NIH, CheXpert")
    assert (values["mine", "licence"], len(values)) == ("unknown", 2 * len(SourceCard.model_fields))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: {modalty: CT}", "unknown field of the card of .*'modalty'.*Did you mean 'modality'"),
        ("a: {n_images: many}", "n_images.*expected a number from 0, or unknown; received 'many'"),
        ("a: {n_patients: -1}", "received -1"),
        ("modality: CT", "holds no cards"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_card_that_cannot_be_used_is_refused(tmp_path, text, says):
    file = tmp_path / "card.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_cards(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_cards(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("saw", "target", "value"),
    [
        ("unknown", "nih_cxr14", "unknown"),
        ((), "anything", "no"),
        (("NIH",), "nih_cxr14", "yes"),
        (("ChestX-ray14",), "NIH", "yes"),
        (("CheXNet",), "ChestX-ray8", "yes"),
        (("TorchXRayVision",), "CheXpert-small", "yes"),
        (("NIH",), "RSNA Pneumonia", "yes"),
        (("PneumoniaMNIST",), "kermany", "yes"),
        (("NIH",), "kermany", "no"),
        (("films at my place",), "films-at-my-place", "yes"),
        (("NIH",), "my_films", "unknown"),
        (("my films",), "kermany", "unknown"),
    ],
)
def test_whether_a_source_saw_the_target(saw, target, value):
    assert saw_target(SourceCard(saw=saw), target).value == value


def test_one_common_file_is_enough_and_none_proves_nothing():
    found = saw_target(SourceCard(saw=()), "kermany", target_hashes=["a", "b", "c"], source_hashes={"b", "c", "x"})
    assert (found.value, found.n_common) == ("yes", 2)
    assert found.reason == "2 of 3 target films are among its own"
    apart = saw_target(SourceCard(), "kermany", target_hashes=["a"], source_hashes=["b"])
    assert (apart.value, apart.n_common) == ("unknown", 0)


def test_the_glossary_and_the_sentence_that_is_always_printed():
    table = glossary_table()
    assert table.columns.tolist() == ["term", "definition", "computed_as"]
    terms = " ".join(table["term"])
    for word in ("visual", "embedding", "semantic", "transferability", "expected performance", "transfer gain", "LEEP"):
        assert word in terms
    assert table.notna().all().all()
    assert table.loc[table["term"].eq("FID"), "computed_as"].item().startswith("not computed")
    assert EXPECTATION == (
        "On the public medical benchmark these scores reached a weighted rank correlation of about 0.3-0.4 with "
        "fine-tuned AUC, a fixed prior order reached .45; confirm by fine-tuning the top 2."
    )
