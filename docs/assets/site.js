// What scrolls sideways can be reached and scrolled with the keyboard, and each of the theme's bars of
// buttons beside a block of code has a name of its own.
function reach() {
  for (const part of document.querySelectorAll(".md-typeset pre > code, .md-typeset__scrollwrap")) {
    const scrolls = part.scrollWidth > part.clientWidth;
    part.toggleAttribute("tabindex", scrolls);
    if (scrolls) part.tabIndex = 0;
  }
  document.querySelectorAll(".md-code__nav").forEach((bar, k) => {
    bar.setAttribute("aria-label", `Code block ${k + 1}`);
  });
}
// The theme wraps tables and adds its bars after the page has loaded.
addEventListener("load", () => setTimeout(reach));
addEventListener("resize", reach);
