/** A page of results: a section for each scenario; of those that were not run the last one stays. */

const HEAD = '<!-- Written by the bench; README.md says how to read it. -->\n<!-- prettier-ignore-start -->';
const FOOT = '<!-- prettier-ignore-end -->\n';

export interface Page {
  readonly title: string;
  /** All there are, in their order. */
  readonly scenarios: readonly string[];
  /** Of those that were run, their paragraphs, by name. */
  readonly sections: ReadonlyMap<string, readonly string[]>;
  /** The page as it is; empty where there is none. */
  readonly before: string;
}

export function pageOf({ title, scenarios, sections, before }: Page): string {
  const kept = before.replace(FOOT, '').split(/^(?=## )/m);
  const texts = scenarios.flatMap((name) => {
    const section = sections.get(name);
    if (section !== undefined) return [[`## ${name}`, ...section].join('\n\n')];
    return kept.filter((text) => text.startsWith(`## ${name}\n`)).map((text) => text.trimEnd());
  });
  return [HEAD, `# ${title}`, ...texts, FOOT].join('\n\n');
}

/** What was run, when and on what. */
export function runOf(command: string, machine: string, versions: readonly string[]): string {
  return `\`${command}\`, ${new Date().toISOString().slice(0, 10)}. ${machine}. ${versions.join(', ')}.`;
}

export function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
