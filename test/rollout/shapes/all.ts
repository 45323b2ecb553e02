import type { Shape } from '../shape.ts';
import { awkwardNames } from './awkward-names.ts';
import { compositeKeys } from './composite-keys.ts';
import { cycle } from './cycle.ts';
import { exposed } from './exposed.ts';
import { integerKeys } from './integer-keys.ts';
import { ownSchema } from './own-schema.ts';
import { partitioned } from './partitioned.ts';
import { textKeys } from './text-keys.ts';
import { textOwner } from './text-owner.ts';
import { tree } from './tree.ts';

export const shapes: readonly Shape[] = [
  textKeys,
  integerKeys,
  compositeKeys,
  textOwner,
  tree,
  cycle,
  partitioned,
  awkwardNames,
  exposed,
  ownSchema,
];
