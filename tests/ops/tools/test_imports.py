from ops.tools import imports

FILES = {
    "stages/a.py": "import json\nfrom digits.x import y\nfrom digits import z\n",
    "digits/x.py": "def f():\n    import digits.lazy.deep\n",
    "digits/z.py": "from digits.x import y\n",
    "digits/lazy/deep.py": "",
    "digits/other.py": "",
}


def test_what_is_imported_anywhere_is_reached() -> None:
    contents = {path: text.encode() for path, text in FILES.items()}
    assert set(imports.reached("stages/a.py", contents.get)) == set(FILES) - {"digits/other.py"}


def test_a_module_that_does_not_exist_reaches_nothing() -> None:
    assert set(imports.reached("stages/b.py", lambda path: None)) == set()
