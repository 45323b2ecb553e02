import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hasDuplicateNames } from './token-form.ts';

test.each([
  ['{"a":1,"a":2}', true],
  ['{"a":1,"\\u0061":2}', true],
  ['{"a":{"b":1,"b":2}}', true],
  ['[{"b":1},{"b":1,"c":[],"b":2}]', true],
  ['{"a" : 1 , "a"\n:2}', true],
  ['{"__proto__":1,"__proto__":2}', true],
  ['{"a":{"a":{"a":1}}}', false],
  ['[{"a":1},{"a":1}]', false],
  ['{"a":"a","b":"a:","c":"{\\"a\\":1,\\"a\\":2}","d":["a","a"]}', false],
  ['{"a\\"":1,"a\\\\":2,"a":3}', false],
  ['"a"', false],
  ['{}', false],
])('%s: %j', (json, expected) => {
  JSON.parse(json);
  expect(hasDuplicateNames(json)).toBe(expected);
});

test('what JSON.stringify writes has none, and a name added again is found', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), fc.nat(), (object, pick) => {
      const json = JSON.stringify(object);
      expect(hasDuplicateNames(json)).toBe(false);
      const names = Object.keys(object);
      const name = names[pick % names.length];
      expect(hasDuplicateNames(`${json.slice(0, -1)},${JSON.stringify(name)}:0}`)).toBe(true);
    }),
  );
});
