"""MkDocs hooks: files outside ``docs`` become pages, and links to them work as they do on GitHub."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = (
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "keras_inception/datasets/PICTOGRAMS.md",
    "notebooks/01_googlenet.ipynb",
    "notebooks/02_compress.ipynb",
    "tests/golden/README.md",
)


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as the first page, and the files outside ``docs`` under their own paths."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=readme))
    for path in OUTSIDE:
        files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links into and out of ``docs`` at the same files of the site."""
    return markdown if "/" in page.file.src_uri else markdown.replace("](../", "](").replace("](docs/", "](")
