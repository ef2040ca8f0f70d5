from harness.testing.runs import example_record
from reports.html.choices import choices


def test_each_question_has_its_best_beside_the_next_with_an_interval() -> None:
    rows = {row.question: row for row in choices(example_record())}

    row = rows["throughput decode_tokens_per_s batch=4"]
    assert row.best == "eager bfloat16"
    assert row.runner_up.startswith("eager float32 (")
    assert row.beside_runner_up.startswith("1.78× [")
    assert row.doubt == ""
    assert row.first == ""  # the runner-up is the suite's first case


def test_the_first_case_stands_beside_the_best_where_it_is_neither_best_nor_next() -> None:
    record = example_record()
    record.cases = [c for c in record.cases if c.scenario == "memory"]
    for name, size in (("onnx", 100.0), ("aot", 300.0)):
        other = record.cases[1].model_copy(deep=True, update={"id": name, "backend": name})
        for figure in other.figures:
            figure.reading = figure.reading.model_copy(update={"value": size})
        record.cases.append(other)

    (row,) = choices(record)

    assert row.best == "onnx bfloat16"
    assert row.beside_runner_up == "3.00×"
    assert row.first.startswith("eager float32 (658 MiB)")
    assert row.doubt == ""


def test_what_may_be_as_good_says_so() -> None:
    record = example_record()
    record.cases = [c for c in record.cases if c.scenario == "latency"]
    record.cases[1].figures = record.cases[0].figures

    (row,) = choices(record)

    assert row.doubt == "not told apart"
