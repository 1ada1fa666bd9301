// A figure scrolls where the style sheet keeps it wider than its column, so that a phone can read its text. It is enlarged
// by a tap on it, or by the button at its corner: a dialog shows it as large as it was drawn, or larger. Escape closes the
// dialog, and the focus returns to the button.
(() => {
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

  /** A box that scrolls what it shows. A picture covers any shadow below it: it fades out instead at an edge beyond which
   *  there is more; the function given back looks again whether there is. The keyboard reaches it where it scrolls. */
  function scroller(tag) {
    const view = make(tag, { className: "rgd-view" });
    const edges = () => {
      view.classList.toggle("more-left", view.scrollLeft > 1);
      view.classList.toggle("more-right", view.scrollLeft + view.clientWidth < view.scrollWidth - 1);
      const whole = view.scrollWidth <= view.clientWidth + 1 && view.scrollHeight <= view.clientHeight + 1;
      view.tabIndex = whole ? -1 : 0;
    };
    view.addEventListener("scroll", edges);
    window.addEventListener("resize", edges);
    return [view, edges];
  }

  const measure = (picture, natural) => {
    picture.style.setProperty("--drawn", `${natural.naturalWidth}px`);
    picture.style.setProperty("--ratio", natural.naturalWidth / natural.naturalHeight);
  };

  /** A dialog that is empty until a figure is put into it, and the function that does so. */
  function enlarger() {
    const dialog = make("dialog", { className: "rgd-enlarged" });
    const close = make("button", { type: "button", textContent: "\u00d7", ariaLabel: "Close" });
    const [view, edges] = scroller("div");
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", event => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => dialog.open || view.replaceChildren()); // it may be open again by then
    dialog.append(close, view);
    document.body.append(dialog);
    return picture => {
      const copy = make("img", { src: picture.currentSrc, alt: picture.alt });
      measure(copy, picture);
      dialog.ariaLabel = `Enlarged figure: ${picture.alt}`;
      view.replaceChildren(copy);
      dialog.showModal();
      copy.decode().then(edges);
    };
  }

  /** Give a picture a view that scrolls, and its button in a box around that; an animation is such a box already, and
   *  keeps its own button first. */
  function prepare(picture, enlarge) {
    const [view, edges] = scroller("span");
    picture.replaceWith(view);
    view.append(picture);
    let box = view.closest(".rgd-player");
    if (box === null) {
      box = make("span", {});
      view.replaceWith(box);
      box.append(view);
    }
    picture.decode().then(() => {
      measure(picture, picture);
      edges();
    });
    box.classList.add("rgd-enlarges");
    const button = make("button", { type: "button", className: "rgd-enlarge", ariaLabel: "Enlarge the figure" });
    button.addEventListener("click", () => enlarge(picture));
    picture.addEventListener("click", () => {
      button.focus(); // where the focus returns to
      enlarge(picture);
    });
    box.append(button);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const pictures = document.querySelectorAll(".bd-article img:not(a img, .rgd-live img)");
    if (pictures.length === 0) return;
    const enlarge = enlarger();
    for (const picture of pictures) prepare(picture, enlarge);
  });
})();
