import { paramsRead, readParams } from './params';

describe('parameters', () => {
  it('are found in the source of a policy, each once', () => {
    const source = 'local when = 1\nreturn { rollout.params.timezone, params.hour }\nparams.hour';
    expect(paramsRead(source)).toEqual(['timezone', 'hour']);
  });

  it('are an object, or nothing', () => {
    expect(readParams(' ')).toEqual({ params: {} });
    expect(readParams('{"a": [1]}')).toEqual({ params: { a: [1] } });
    for (const text of ['[1]', '1', 'null', '{a: 1}']) expect(readParams(text)).toHaveProperty('problem');
  });
});
