/** A page that is neither HTML nor Markdown yet: headings, sentences, tables and boxes to tick. */

export type State = 'met' | 'not met' | 'not measured';

export interface Criterion {
  /** Of the deployment guide: `G84`. */
  readonly id: string;
  readonly text: string;
  readonly state: State;
  /** The figure or the named check that it rests on; without one, why there is none. */
  readonly evidence: string;
  /** How to measure it, or what to do about it. */
  readonly remedy?: string;
}

export interface Box {
  readonly id: string;
  readonly text: string;
  readonly who: string;
  /** What does it, or helps with it. */
  readonly command?: string;
}

export type Block =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'table';
      readonly caption: string;
      readonly columns: readonly string[];
      readonly rows: readonly (readonly string[])[];
    }
  | { readonly kind: 'criteria'; readonly caption: string; readonly criteria: readonly Criterion[] }
  | { readonly kind: 'boxes'; readonly boxes: readonly Box[] }
  /** Lines to write on. */
  | { readonly kind: 'signature'; readonly lines: readonly string[] };

export interface Section {
  readonly heading: string;
  readonly blocks: readonly Block[];
}

export interface Page {
  readonly title: string;
  /** Of what and when. */
  readonly subtitle: string;
  readonly summary: string;
  readonly sections: readonly Section[];
}

export const criteriaColumns = ['No.', 'Criterion', 'State', 'Measured'] as const;
