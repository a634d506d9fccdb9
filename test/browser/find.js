// What a person finds on a page: by the words on it, never by how it is drawn. Evaluated in the page of a test;
// the value is an object of functions. What is found is brought into view and answered as the middle of its first
// box, to be clicked with a real mouse; what is covered by something else is not found.
(() => {
  const words = text => (text || '').replace(/\s+/g, ' ').trim();
  const shown = e => e.getClientRects().length > 0 && e.checkVisibility({visibilityProperty: true}) && !e.closest('[aria-hidden=true]');

  // without is the text of e but not that of the controls in it: a label may be around its select.
  const without = e => {
    const copy = e.cloneNode(true);
    for (const inner of copy.querySelectorAll('select, textarea, small')) inner.remove();
    return words(copy.textContent);
  };
  const labels = e => {
    const by = (e.getAttribute('aria-labelledby') || '').split(/\s+/).map(id => document.getElementById(id)).filter(Boolean);
    return [...(e.labels || []), ...by].map(without).concat(words(e.getAttribute('aria-label'))).filter(Boolean);
  };
  const names = e => [words(e.getAttribute('aria-label')), words(e.innerText), words(e.textContent), words(e.value), words(e.title)].filter(Boolean);

  // area is the innermost elements that hold the words: a row, a card, a form; the page when there are no words.
  const areas = text => {
    if (!text) return [document];
    const all = [...document.querySelectorAll('tr, [role=row], li, form, fieldset, section, article, dialog, details, .card')].filter(e => shown(e) && words(e.innerText).includes(text));
    return all.filter(e => !all.some(other => other !== e && e.contains(other)));
  };

  const at = e => {
    e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
    const box = e.getClientRects()[0], x = box.x + box.width / 2, y = box.y + box.height / 2;
    const top = document.elementFromPoint(x, y);
    if (!top || !(e === top || e.contains(top) || top.contains(e))) return {problem: 'it is covered by ' + (top ? top.outerHTML.slice(0, 120) : 'nothing')};
    return {x, y};
  };
  const one = (found, what, several) => {
    const seen = found.filter(shown);
    if (seen.length === 0) return {problem: 'there is no ' + what};
    if (seen.length > 1 && !several) return {problem: 'there are ' + seen.length + ' of ' + what};
    return {element: seen[0]};
  };

  const field = (name, area) => {
    const fields = areas(area).flatMap(a => [...a.querySelectorAll('input:not([type=hidden]), select, textarea')]);
    const exact = fields.filter(e => e.name === name || labels(e).includes(name));
    return one(exact.length ? exact : fields.filter(e => labels(e).some(l => l.startsWith(name))), 'field ' + name);
  };
  const option = (name, value) => one([...document.querySelectorAll('input[type=radio], input[type=checkbox]')].filter(e => e.name === name && e.value === value), 'choice ' + name + '=' + value);
  const control = (name, area) => {
    const found = areas(area).flatMap(a => [...a.querySelectorAll('button, a[href], summary, input[type=submit], [role=button], [role=tab], [role=menuitem]')]);
    const exact = found.filter(e => names(e).includes(name)), enabled = exact.filter(e => !e.disabled);
    return one(enabled.length ? enabled : exact, 'button or link ' + name + (area ? ' in ' + area : ''), !area && enabled.every(e => e.href && e.href === enabled[0].href));
  };

  return {
    where: (kind, name, area) => {
      const {problem, element} = {field, option, control}[kind](name, area);
      if (problem) return {problem};
      if (element.disabled) return {problem: name + ' is disabled'};
      return {...at(element), tag: element.localName, type: element.type || '', checked: !!element.checked};
    },
    choose: (name, value, area) => {
      const {problem, element} = field(name, area);
      if (problem) return problem;
      const option = [...element.options].find(o => o.value === value || words(o.text) === value);
      if (!option) return name + ' has no option ' + value + ' but ' + [...element.options].map(o => o.value);
      element.value = option.value;
      element.dispatchEvent(new Event('input', {bubbles: true}));
      element.dispatchEvent(new Event('change', {bubbles: true}));
      return '';
    },
    value: (name, area) => { const {problem, element} = field(name, area); return problem ? {problem} : {value: element.value}; },
    problem: (name, area) => {
      const {problem, element} = field(name, area);
      if (problem) return {problem};
      if (element.getAttribute('aria-invalid') !== 'true') return {problem: name + ' is not marked as wrong'};
      return {value: (element.getAttribute('aria-describedby') || '').split(/\s+/).map(id => words(document.getElementById(id)?.innerText)).join(' ')};
    },
  };
})()
