/* Puts live widgets into a page: for each <div class="rgd-live" data-widget data-state> the script live/NAME.js beside
   this file is loaded when the place comes near the window, or at once if it has data-now, and draws into it. A
   classic script, as are those: a page that was opened as a file has no modules. What stands in a widget's place stays
   if the widget cannot be had. */
(() => {
  "use strict";
  const here = new URL(".", document.currentScript.src).href;
  const scripts = {};

  /** A widget's state, with the part of anywidget's model that widgets ask for. `static` is the address of this
   *  file's folder. */
  class Model {
    constructor(state) {
      this.state = state;
      this.heard = {};
    }

    get(name) {
      return name === "static" ? here : this.state[name];
    }

    set(name, value) {
      if (Object.is(this.state[name], value)) return;
      this.state[name] = value;
      for (const call of this.heard[`change:${name}`] ?? []) call();
    }

    on(event, call) {
      (this.heard[event] ??= []).push(call);
    }

    off(event, call) {
      this.heard[event] = (this.heard[event] ?? []).filter((other) => other !== call);
    }

    save_changes() {}
  }

  /** Loads a widget's script, once for all its places. */
  function load(name) {
    scripts[name] ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = `${here}live/${name}.js`;
      script.onload = () => done(globalThis.rgdLive[name].default);
      script.onerror = () => failed(new Error(`${script.src} cannot be loaded`));
      document.head.append(script);
    });
    return scripts[name];
  }

  async function show(place) {
    const el = document.createElement("div");
    el.className = "rgd-live-here";
    try {
      const widget = await load(place.dataset.widget);
      place.append(el);
      await widget.render({ model: new Model(JSON.parse(place.dataset.state)), el });
      place.classList.add("rgd-live-on");
    } catch (error) {
      el.remove();
      console.error(error);
    }
  }

  const watch = new IntersectionObserver(
    (seen) => {
      for (const { isIntersecting, target } of seen) {
        if (!isIntersecting) continue;
        watch.unobserve(target);
        show(target);
      }
    },
    { rootMargin: "600px" },
  );
  // Not before the figures have what enlarge.js puts around them.
  document.addEventListener("DOMContentLoaded", () => {
    for (const place of document.querySelectorAll(".rgd-live")) {
      if ("now" in place.dataset) show(place);
      else watch.observe(place);
    }
  });
})();
