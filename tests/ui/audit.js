// Returns what is wrong with a page, as sentences. Contrast is computed from the colours the browser would paint.
() => {
  const problems = [];
  const say = (element, what) => problems.push(`${what}: ${element.outerHTML.slice(0, 120)}`);
  const named = (e) => (e.getAttribute('aria-label') || e.innerText || e.textContent || '').trim()
    || (e.getAttribute('aria-labelledby') || '').split(' ').map((id) => document.getElementById(id)?.innerText).join('');
  if (!document.documentElement.lang) problems.push('the page has no language');
  if (!document.title.trim()) problems.push('the page has no title');
  for (const landmark of ['main', 'header', 'footer', 'nav']) {
    if (!document.querySelector(landmark)) problems.push(`no ${landmark}`);
  }
  if (document.querySelectorAll('main').length !== 1) problems.push('not one main');
  if (document.querySelectorAll('h1').length !== 1) problems.push('not one h1');
  let level = 1;
  for (const heading of document.querySelectorAll('h1, h2, h3, h4')) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) say(heading, 'a level of headings is left out');
    level = now;
  }
  for (const nav of document.querySelectorAll('nav')) if (!named(nav)) say(nav, 'a nav without a name');
  for (const e of document.querySelectorAll('a[href], button:not([hidden]), summary')) {
    if (!named(e)) say(e, 'nothing tells where it leads');
  }
  for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
    if (!e.labels?.length && !e.getAttribute('aria-label')) say(e, 'no label');
  }
  for (const table of document.querySelectorAll('table')) {
    if (!table.caption?.innerText.trim()) say(table, 'no caption');
    for (const th of table.querySelectorAll('th')) if (!th.scope) say(th, 'no scope');
  }
  for (const e of document.querySelectorAll('[role=region]')) if (!named(e) && !e.getAttribute('aria-labelledby')) say(e, 'no name');
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) problems.push(`the id ${id} twice`);
  for (const a of document.querySelectorAll('a[href^="#"]')) {
    if (!document.getElementById(a.getAttribute('href').slice(1))) say(a, 'leads nowhere');
  }
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) problems.push('wider than the window');

  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (let one = e; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || !e.checkVisibility() || e.closest('.hidden, option')) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) say(e, `contrast ${ratio.toFixed(2)}`);
  }
  return problems;
}
