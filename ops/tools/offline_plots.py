"""Have `dvc plots` write pages that need no network: python -m ops.tools.offline_plots

`make` runs it after the set-up. DVC's own page loads Vega, which draws the plots, from a public
server. This command writes a page with Vega inside to .dvc/plots/page.html, and names it in
.dvc/config.local: if .dvc/config named it, DVC would fail in a clone without the page. A page that
you have configured yourself stays.
"""

from pathlib import Path

from digits.core import errors, files
from ops.tools import any_path

PAGE = Path(".dvc/plots/page.html")
VEGA_LITE = "5.21"  # DVC's templates are for version 5
HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plots</title>
{refresh_tag}
<style>
body { margin: 2rem; font: 1rem/1.5 system-ui, sans-serif; }
table { border-spacing: 15px; }
</style>
<script>
(() => {
VEGA
})();
</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def main() -> None:
    import vl_convert
    from dvc.config import Config

    any_path.allow()
    vega = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    files.write(PAGE, HTML.replace("VEGA", vega))
    name = str(PAGE.relative_to(".dvc"))
    config = Config(dvc_dir=str(PAGE.parents[1].absolute()))
    if config.get("plots", {}).get("html_template", name) == name:
        with config.edit("local") as local:
            local["plots"] = {**local.get("plots", {}), "html_template": name}


if __name__ == "__main__":
    errors.run(main)
