// What the pages do beside showing what the server sends: times that go on, the filter, keys,
// and charts. Nothing here makes HTML of a text.
'use strict';

(() => {
  const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
  const $ = (id) => document.getElementById(id);
  const ahead = Number(meta('now')) - Date.now(); // of the server's clock
  const now = () => Date.now() + ahead;

  // As view.Span has it.
  const two = (n) => String(n).padStart(2, '0');
  function span(ms) {
    const s = Math.floor(Math.max(ms, 0) / 1000);
    if (s < 60) return `${s}s`;
    if (s < 3600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
    if (s < 86400) return `${Math.floor(s / 3600)}h${two(Math.floor(s / 60) % 60)}m`;
    return `${Math.floor(s / 86400)}d${two(Math.floor(s / 3600) % 24)}h`;
  }
  function clock(ms) {
    const at = new Date(ms);
    const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
    return at.toDateString() === new Date(now()).toDateString() ? time : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
  }
  const put = (el, text) => { if (el.textContent !== text) el.textContent = text; };

  function age(root) {
    const t = now();
    for (const el of root.querySelectorAll('[data-since]')) put(el, span(t - Number(el.dataset.since)));
    for (const el of root.querySelectorAll('[data-at]')) put(el, clock(Number(el.dataset.at)));
    for (const el of root.querySelectorAll('[data-left]')) put(el, span(Number(el.dataset.left) - t));
    for (const el of root.querySelectorAll('progress[data-until]')) {
      const left = Math.max(Number(el.dataset.until) - t, 0);
      el.value = Math.min(left, el.max);
      el.classList.toggle('low', left < el.max / 4);
    }
  }

  // The filter hides rows; which are there is the server's affair.
  const rows = $('rows'), filter = $('filter'), waiting = $('waiting');
  function sift() {
    if (!rows) return;
    const want = filter.value.toLowerCase();
    let shown = 0;
    for (const row of rows.children) {
      const name = row.querySelector('.name').textContent.toLowerCase();
      row.hidden = !name.includes(want) || (waiting.checked && row.dataset.waiters === '0');
      if (!row.hidden) shown++;
    }
    $('none').hidden = shown > 0;
  }

  function move(by) {
    const links = [...rows.querySelectorAll('.row:not([hidden]) .name a')];
    if (links.length === 0) return;
    const at = links.indexOf(document.activeElement);
    const to = links[Math.min(Math.max(at + by, 0), links.length - 1)];
    to.focus();
    to.scrollIntoView({ block: 'nearest' });
  }

  function press(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const typing = e.target.matches('input, textarea');
    if (e.key === 'Escape' && e.target === filter) {
      filter.value = '';
      sift();
      filter.blur();
    } else if (rows && (e.key === 'ArrowDown' || (!typing && e.key === 'j'))) {
      move(1);
    } else if (rows && (e.key === 'ArrowUp' || (!typing && e.key === 'k'))) {
      move(-1);
    } else if (filter && !typing && e.key === '/') {
      filter.focus();
    } else {
      return;
    }
    e.preventDefault();
  }

  // Charts, by the id of their element. They are made anew when the colours change.
  const charts = new Map();
  const colour = (name) => {
    const probe = document.createElement('i');
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const c = getComputedStyle(probe).color;
    probe.remove();
    return c;
  };

  function axes(extra) {
    const axis = { stroke: colour('--dim'), font: '11px system-ui', grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
    return [{ ...axis, size: 24, grid: { show: false }, ...extra }, { ...axis, size: 40 }];
  }

  function bars(el, labels, counts) {
    return {
      data: [labels.map((_, i) => i), counts],
      make: () => ({
        width: el.clientWidth, height: 148, legend: { show: false }, cursor: { show: false },
        scales: { x: { time: false, range: [-0.6, labels.length - 0.4] }, y: { range: (u, min, max) => [0, Math.max(max, 4)] } },
        axes: axes({ splits: () => labels.map((_, i) => i), values: () => labels }).map((a, i) => i === 0 ? a : { ...a, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 10000] }),
        series: [{}, { fill: colour('--bar'), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.72, 60] }) }],
      }),
    };
  }

  function line(el, times, took) {
    return {
      data: [times, took],
      make: () => ({
        width: el.clientWidth, height: 148, legend: { show: false }, cursor: { show: false },
        scales: { y: { range: (u, min, max) => [0, Math.max(max * 1.15, 1)] } },
        axes: axes({}),
        series: [{}, { stroke: colour('--bar'), width: 1.5, points: { show: false } }],
      }),
    };
  }

  function draw(anew) {
    for (const source of document.querySelectorAll('[data-chart]')) {
      const el = $(source.dataset.chart), d = source.dataset;
      const c = d.counts ? bars(el, JSON.parse(d.labels), JSON.parse(d.counts)) : line(el, JSON.parse(d.times) || [], JSON.parse(d.took) || []);
      const was = charts.get(el.id);
      if (was && !anew) {
        was.setData(c.data);
        continue;
      }
      if (was) was.destroy();
      charts.set(el.id, new uPlot(c.make(), c.data, el));
    }
  }

  function refresh(root) {
    age(root);
    sift();
    draw(false);
  }

  let due = false;
  function soon() { // once for all that came with one event
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; refresh(document); });
  }

  const live = $('live');
  function say(text, off) {
    if (!live) return;
    put(live, text);
    live.classList.toggle('off', off);
  }

  // The events of the page, as the extension of htmx takes an EventSource. It has a connection
  // only while somebody can see the page: over HTTP/1.1 a browser opens six to a host, and a
  // seventh page would wait for one. What it missed it need not be told: the
  // first events on a connection are the page as it stands.
  class Events {
    #url;
    #source = null;
    #listeners = [];

    constructor(url) {
      this.#url = url;
      if (!document.hidden) this.#open();
    }

    #open() {
      this.#source = new EventSource(this.#url);
      this.#source.onopen = (e) => this.onopen(e);
      this.#source.onerror = (e) => this.onerror(e);
      for (const [type, f] of this.#listeners) this.#source.addEventListener(type, f);
    }

    get readyState() { return this.#source ? this.#source.readyState : EventSource.CONNECTING; }

    addEventListener(type, f) {
      this.#listeners.push([type, f]);
      if (this.#source) this.#source.addEventListener(type, f);
    }

    removeEventListener(type, f) {
      this.#listeners = this.#listeners.filter(([t, g]) => t !== type || g !== f);
      if (this.#source) this.#source.removeEventListener(type, f);
    }

    // What has failed for good is left to the extension, which makes another.
    seen() {
      if (document.hidden && this.readyState !== EventSource.CLOSED) {
        this.close();
        this.#source = null;
      } else if (!document.hidden && this.#source === null) {
        say('connecting', false);
        this.#open();
      }
    }

    close() { if (this.#source) this.#source.close(); }
  }

  let events = null;
  htmx.createEventSource = (url) => events = new Events(url);
  document.addEventListener('visibilitychange', () => { if (events) events.seen(); });

  // A stream that was refused may want a new login, to which the page leads.
  async function refused() {
    const answer = await fetch(location.href, { method: 'HEAD' }).catch(() => null);
    if (answer && answer.status === 401) location.reload();
  }
  document.addEventListener('htmx:sseOpen', () => say('live', false));
  document.addEventListener('htmx:sseError', (e) => {
    say('not live: reconnecting', true);
    if (e.detail.source.readyState === EventSource.CLOSED) refused();
  });
  document.addEventListener('htmx:sseMessage', soon);
  document.addEventListener('keydown', press);
  if (filter) {
    filter.addEventListener('input', sift);
    waiting.addEventListener('change', sift);
  }
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw(true));
  let resized = 0;
  addEventListener('resize', () => {
    clearTimeout(resized);
    resized = setTimeout(() => draw(true), 150);
  });
  setInterval(() => age(document), 1000);
  refresh(document);
})();
