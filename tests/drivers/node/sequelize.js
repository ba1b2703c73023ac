// A small shop by Sequelize over mysql2.
'use strict';

const { DataTypes, Op, Sequelize, fn, col } = require('sequelize');
const { argumentsGiven, said, value } = require('./checklist');

const given = argumentsGiven();
const sequelize = new Sequelize(given.database, given.user, given.password, {
  host: given.host, port: given.port, dialect: 'mysql', logging: false, timezone: '+00:00', pool: { max: 2 },
});

const Customer = sequelize.define('Customer', {
  id: { type: DataTypes.BIGINT, primaryKey: true },
  name: DataTypes.STRING(60),
}, { tableName: 'customers', timestamps: false });

const Order = sequelize.define('Order', {
  customer_id: { type: DataTypes.BIGINT, primaryKey: true },
  number: { type: DataTypes.INTEGER, primaryKey: true },
  total: DataTypes.DECIMAL(10, 2),
  paid: { type: DataTypes.BOOLEAN, defaultValue: false },
}, { tableName: 'orders', timestamps: false });

Order.belongsTo(Customer, { foreignKey: 'customer_id', constraints: false });

const cells = (rows) => rows.map((row) => row.map(value));
const ofFirst = { where: { customer_id: 1 } };

const parts = {
  async schema() {
    await sequelize.authenticate();
    await sequelize.sync();
    return { ok: true };
  },
  async create() {
    for (let id = 1; id <= 5; id += 1) await Customer.create({ id, name: `customer ${id}` });
    await Order.bulkCreate([1, 2, 3].map((number) => ({ customer_id: 1, number, total: number * 10 })));
    await Order.bulkCreate([2, 3, 4, 5].map((id) => ({ customer_id: id, number: 1, total: 5 })));
    return { ok: true };
  },
  async read() {
    const one = await Customer.findByPk(1);
    const orders = await Order.findAll({ ...ofFirst, order: [['total', 'DESC']], include: Customer });
    return cells([[one.name, await Customer.findByPk(9)],
      ...orders.map((order) => [order.number, order.total, order.paid, order.Customer.name])]);
  },
  async aggregate() {
    return cells([[await Order.sum('total', ofFirst), await Order.count(ofFirst), await Order.max('total', ofFirst)]]);
  },
  async update() {
    const [changed] = await Order.update({ paid: true }, ofFirst);
    await Order.increment('total', { by: 1, ...ofFirst });
    const [made, isNew] = await Customer.findOrCreate({ where: { id: 7 }, defaults: { name: 'seven' } });
    await Customer.upsert({ id: 7, name: 'again' });
    return cells([[changed, made.name, isNew, (await Customer.findByPk(7)).name]]);
  },
  async commit() {
    await sequelize.transaction(async (transaction) => {
      await Customer.findByPk(1, { transaction, lock: transaction.LOCK.UPDATE });
      await Order.create({ customer_id: 1, number: 10, total: 1 }, { transaction });
    });
    return { count: await Order.count(ofFirst) };
  },
  async rollback() {
    try {
      await sequelize.transaction(async (transaction) => {
        await Order.destroy({ ...ofFirst, transaction });
        throw new RangeError('rolled back');
      });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    return { count: await Order.count(ofFirst) };
  },
  async every() {
    return cells((await Customer.findAll({ raw: true })).map((row) => [row.id, row.name])).sort();
  },
  async 'every ordered'() {
    return cells((await Customer.findAll({ order: ['name'], limit: 3 })).map((row) => [row.id]));
  },
  async count() {
    return { count: await Customer.count() };
  },
  async grouped() {
    const found = await Order.findAll({
      attributes: ['paid', [fn('SUM', col('total')), 'sum']], where: { customer_id: 1, number: { [Op.lt]: 9 } },
      group: ['paid'], raw: true,
    });
    return cells(found.map((row) => [row.paid, row.sum]));
  },
  async tables() {
    return cells(Object.entries(await sequelize.getQueryInterface().describeTable('orders'))
      .map(([name, about]) => [name, about.type, about.allowNull, about.primaryKey]));
  },
  async 'table names'() {
    return cells((await sequelize.getQueryInterface().showAllTables()).sort().map((name) => [name]));
  },
  async drop() {
    await sequelize.drop();
    return { ok: true };
  },
};

async function main() {
  for (const [name, part] of Object.entries(parts)) {
    let answer;
    try {
      answer = await part();
    } catch (error) {
      answer = { error: [error.name, error.message] };
    }
    said(`shop ${name}`, { steps: [Array.isArray(answer) ? { rows: answer } : answer] });
  }
  await sequelize.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
