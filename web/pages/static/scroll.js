// Whatever scrolls by itself can be reached with the keyboard, and only while it scrolls: tables on narrow screens.

const scrollers = ".table, pre";

export function reachScrollers(root) {
  for (const element of root.querySelectorAll(scrollers)) {
    const scrolls = element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight;
    if (scrolls) element.tabIndex = 0;
    else if (!element.matches("[data-scroll]")) element.removeAttribute("tabindex");
  }
}
