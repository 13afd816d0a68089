"""Files that nobody would write, for the tests that read them.

`DEPLOYER_FUZZ=10000` makes as many files as that; `make test` makes a few.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

PATIENCE = 20.0  # seconds for one file, on a busy machine

WORDS = st.sampled_from(
    [
        *("a", "b.c", "port", "mode", "url", "password", "cron", "domains", "services", "ports"),
        *("http:/x.org/", "https://[", "10.0.0.0/33", "::/129", "'0900'", "70000", "8080:80"),
        *(
            "61 * * * *",
            "10x",
            "<CHANGE_ME>",
            "{{ x }}",
            "{% if",
            "${a}",
            "${",
            "%{",
            "<<EOF",
            "EOF",
        ),
        *("AKIAQ7W2E5R8T1Y4U6I9", "# deployer: ignore[port] x", "# deployer: ignore[", "!vault"),
        *(
            "&a",
            "*a",
            "<<: *a",
            "? ",
            "- ",
            ": ",
            "= ",
            "|",
            ">-",
            "---",
            "...",
            "[",
            "]",
            "{",
            "}",
        ),
        *(
            "(",
            ")",
            '"',
            "'",
            '"""',
            "'''",
            ",",
            "\\",
            "\\u12",
            "/*",
            "//",
            "\n",
            "\n  ",
            "\t",
            "\r\n",
        ),
        *("[settings]", "[[services]]", "app = ", 'app = "./app"', 'provider = "local"', "source"),
        *(
            "template",
            "src",
            "import_tasks",
            "module",
            "variable",
            "default",
            "\0",
            "\x1b[31m",
            "\ufffc",
        ),
    ]
)
TEXTS = st.one_of(
    st.lists(WORDS, max_size=40).map(" ".join),
    st.lists(WORDS, max_size=40).map("".join),
    st.text(max_size=200),
)
CONTENTS = st.one_of(
    TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    TEXTS.map(lambda text: text.encode("utf-16", "surrogatepass")),
    st.binary(max_size=200),
    st.tuples(WORDS, st.integers(1, 3000)).map(lambda one: (one[0] * one[1]).encode()),
)


def fuzz(few: int) -> settings:
    """As many examples as the variable says, or `few`, always the same ones."""
    return settings(
        max_examples=int(os.environ.get("DEPLOYER_FUZZ", few)),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
