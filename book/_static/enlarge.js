// A figure is enlarged by a tap on it, or by the button at its corner: a dialog shows it as large as it was drawn, so that
// a phone can read its text. Escape closes the dialog, and the focus returns to the button.
(() => {
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

  /** A dialog that is empty until a figure is put into it, and the function that does so. */
  function enlarger() {
    const dialog = make("dialog", { className: "rgd-enlarged" });
    const close = make("button", { type: "button", textContent: "\u00d7", ariaLabel: "Close" });
    const view = make("div", { tabIndex: 0 });
    // A picture covers any shadow below it: it fades out instead at an edge beyond which there is more.
    const edges = () => {
      view.classList.toggle("more-left", view.scrollLeft > 1);
      view.classList.toggle("more-right", view.scrollLeft + view.clientWidth < view.scrollWidth - 1);
    };
    view.addEventListener("scroll", edges);
    window.addEventListener("resize", edges);
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", event => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => view.replaceChildren());
    dialog.append(close, view);
    document.body.append(dialog);
    return picture => {
      const copy = make("img", { src: picture.currentSrc, alt: picture.alt });
      copy.style.setProperty("--drawn", `${picture.naturalWidth}px`);
      copy.style.setProperty("--ratio", picture.naturalWidth / picture.naturalHeight);
      dialog.ariaLabel = `Enlarged figure: ${picture.alt}`;
      view.replaceChildren(copy);
      dialog.showModal();
      copy.decode().then(edges);
    };
  }

  /** Give a picture its button, in a box around it; an animation is that box already, and keeps its own button first. */
  function prepare(picture, enlarge) {
    let box = picture.closest(".rgd-player");
    if (box === null) {
      box = make("span", {});
      picture.replaceWith(box);
      box.append(picture);
    }
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
