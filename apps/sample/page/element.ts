/** Elements of the page: found with their type, or made without any markup in a string. */

/** The element with an id, of the class the caller needs. */
export function byId<E extends Element>(id: string, type: new () => E): E {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`The page has no ${type.name} with the id "${id}".`);
  return found;
}

/** Makes an element; children that are strings become text, so data can never become markup. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>>,
  ...children: ReadonlyArray<Node | string>
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Sets an element's text only where it differs: a live region is not announced again, a selection is kept. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}
