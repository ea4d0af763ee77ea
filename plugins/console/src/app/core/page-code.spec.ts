import { Routes } from '@angular/router';
import { fetchPageCode } from './page-code';

describe('the code of a page', () => {
  let fetched: string[];
  const page = (name: string) => ({
    loadComponent: () => {
      fetched.push(name);
      return Promise.reject(new Error('away'));
    },
  });
  const routes: Routes = [
    { path: 'login', ...page('login') },
    {
      path: '',
      ...page('shell'),
      children: [
        { path: '', pathMatch: 'full', ...page('home') },
        { path: 'devices/add', ...page('add') },
        { path: 'devices/:id', ...page('device') },
        { path: '', children: [{ path: 'audit', ...page('audit') }] },
      ],
    },
  ];
  const of = (path: string) => {
    fetched = [];
    fetchPageCode(routes, path.split('/').filter(Boolean));
    return fetched.sort();
  };

  it('is fetched with what the page stands in', () => {
    expect(of('login')).toEqual(['login']);
    expect(of('')).toEqual(['home', 'shell']);
    expect(of('devices/add')).toEqual(['add', 'shell']);
    expect(of('devices/7')).toEqual(['device', 'shell']);
    expect(of('audit')).toEqual(['audit', 'shell']);
  });

  it('is not fetched where there is no such page', () => {
    expect(of('devices')).toEqual([]);
    expect(of('devices/7/8')).toEqual([]);
    expect(of('else')).toEqual([]);
  });
});
