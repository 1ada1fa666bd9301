// What a search result shows of a page begins where the word first stands, and the word is looked for here: in the page's
// own text, without the theme's buttons and without the set-up cell, prose first, then tables, then code.
Search.htmlToText = (html, anchor) => {
  const page = new DOMParser().parseFromString(html, "text/html");
  const found = page.getElementById(anchor?.slice(1)) ?? page.querySelector("article.bd-article");
  page.querySelector(".cell")?.remove();
  for (const unread of found.querySelectorAll(".headerlink, script, style")) unread.remove();
  found.append(...found.querySelectorAll("table"), ...found.querySelectorAll(".highlight"));
  return found.textContent;
};
