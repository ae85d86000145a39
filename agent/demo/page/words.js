// The page's two languages. Functions take numbers that are already formatted.
export const words = {
  en: {
    title: 'scanrelay demo: from a scan to a WeChat message',
    tagline: 'From a scan in the depot to a message in WeChat',
    cut: 'Cut the uplink for 10 s',
    language: 'Language', legend: 'Colours', messages: 'Messages, newest first',
    way: 'The way of a scan',
    wayHint: 'Each small parcel is one scan. Its colour tells how far it has come.',
    zoneDepot: 'Depot: agent', zoneCentre: 'Centre', zoneWeChat: 'WeChat (simulated)',
    stage0: 'Scanned', stage0Sub: 'by a scanner, over MQTT',
    stage1: 'On disk', stage1Sub: 'then acknowledged',
    stage2: 'Synced', stage2Sub: 'the centre has it',
    stage3: 'Looked up', stage3Sub: 'WeChat asked the centre',
    stage4: 'Pushed', stage4Sub: 'message shown',
    stage5: 'Ended without a message',
    uplink: 'uplink', uplinkCut: 'uplink cut',
    wait: 'What waits', waitUplink: 'On disk, for the uplink', waitData: 'For waybill data', waitPush: 'For its push',
    curve: 'Waiting, last two minutes; highest', none: 'none',
    outcomes: 'How scans ended',
    outPushed: 'Pushed', outNotBound: 'Phone not bound', outSuperseded: 'Superseded by a newer scan', outOther: 'Otherwise',
    intake: 'Taken in:', inReceived: 'stored', inDuplicate: 'repeated', inIgnored: 'no read', inRejected: 'not understood',
    parcels: 'Parcels on their way',
    parcelCount: (begun, ended, total) => `${begun} of ${total} have set out, ${ended} have arrived`,
    to: city => `to ${city}`,
    phone: 'What receivers see', chat: 'Service messages',
    phoneHint: 'A few of all messages, as they arrive. Phone numbers are masked here.',
    cardKind: 'Parcel', cardWaybill: 'Waybill', cardTo: 'To', cardMore: 'Details',
    footer: 'Everything runs on this machine: a real agent, centre and MQTT broker, simulated scanners and a simulated WeChat. People, numbers and parcels are invented.',
    starting: 'Starting …',
    calm: 'All is well: a scan becomes a message within moments.',
    down: 'The uplink is cut. Scans go on, and each is safe on the depot’s disk.',
    downMore: (n, s) => `${n} waiting · back in ${s} s`,
    catching: 'The uplink is back. What waited is on its way; new scans need not queue behind it.',
    catchingMore: n => `${n} left`,
    draining: 'Scanning is over. The last scans are on their way.',
    done: 'Done. Every scan has exactly one outcome, and WeChat received each pushed one once, in order.',
    failed: 'The books do not agree:',
    lost: 'The demo has ended or cannot be reached. This is how it stood.',
  },
  zh: {
    title: 'scanrelay 演示:从扫描到微信消息',
    tagline: '从网点的一次扫描,到微信里的一条消息',
    cut: '断开上行网络 10 秒',
    language: '语言', legend: '颜色说明', messages: '消息,新的在前',
    way: '一次扫描的旅程',
    wayHint: '每个小包裹是一次扫描,颜色表示它走到了哪一步。',
    zoneDepot: '网点端', zoneCentre: '中心', zoneWeChat: '微信(模拟)',
    stage0: '已扫描', stage0Sub: '扫码枪经 MQTT 上报',
    stage1: '已落盘', stage1Sub: '落盘之后才应答',
    stage2: '已同步', stage2Sub: '中心已收妥',
    stage3: '已反查', stage3Sub: '微信向中心核对',
    stage4: '已推送', stage4Sub: '消息已送达',
    stage5: '无需推送',
    uplink: '上行网络', uplinkCut: '上行已断',
    wait: '等待中', waitUplink: '已落盘,等网络', waitData: '等运单资料', waitPush: '等推送',
    curve: '近两分钟等待数,最高', none: '无',
    outcomes: '扫描的结果',
    outPushed: '已推送', outNotBound: '手机号未绑定', outSuperseded: '已有更新的轨迹', outOther: '其他',
    intake: '采集:', inReceived: '入库', inDuplicate: '重复', inIgnored: '空读', inRejected: '无法识别',
    parcels: '在途包裹',
    parcelCount: (begun, ended, total) => `共 ${total} 件,已开始 ${begun} 件,已完成 ${ended} 件`,
    to: city => `寄往 ${city}`,
    phone: '收件人看到的', chat: '服务消息',
    phoneHint: '随消息到达展示其中一部分;此处手机号已脱敏。',
    cardKind: '物流消息', cardWaybill: '运单号', cardTo: '寄往', cardMore: '查看物流详情',
    footer: '一切都在本机运行:真实的网点端、中心和 MQTT 服务,模拟的扫码枪和模拟的微信。人名、号码和包裹均为虚构。',
    starting: '正在启动……',
    calm: '一切正常:扫描片刻即成消息。',
    down: '上行网络已断。扫描照常进行,每一次都已安全写入网点磁盘。',
    downMore: (n, s) => `${n} 条等待中 · ${s} 秒后恢复`,
    catching: '上行网络已恢复。积压正在送出,新的扫描不必排队。',
    catchingMore: n => `还剩 ${n} 条`,
    draining: '扫描已结束,最后几条正在路上。',
    done: '完成:每次扫描恰有一个结果;推送的每一条,微信都恰好收到一次,顺序无误。',
    failed: '账目不符:',
    lost: '演示已结束或无法连接,以下为最后的状态。',
  },
};

const actions = {
  100001: ['Picked up', '已揽收', 'Pick-up', '揽收'],
  200001: ['In transit', '运输中', 'Transit', '运输'],
  300002: ['Out for delivery', '派送中', 'Delivery', '派件'],
  300003: ['Signed for', '已签收', 'Signed', '签收'],
  300004: ['Delivery failed', '派送失败', 'Failed', '未妥投'],
  300005: ['Ready to collect', '待取件', 'Stored', '入站'],
};

const cities = { 上海: 'Shanghai', 苏州: 'Suzhou', 泉州: 'Quanzhou', 深圳: 'Shenzhen', 广州: 'Guangzhou', 成都: 'Chengdu', 重庆: 'Chongqing', 北京: 'Beijing', 石家庄: 'Shijiazhuang', 西安: "Xi'an", 杭州: 'Hangzhou' };

const remembered = 'scanrelay-language';

export let language = pick();

function pick() {
  try {
    const kept = localStorage.getItem(remembered);
    if (kept in words) return kept;
  } catch { /* no storage: the browser's language decides */ }
  return (navigator.language || 'en').toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export function setLanguage(l) {
  language = l;
  try { localStorage.setItem(remembered, l); } catch { /* not remembered then */ }
}

export const t = (key, ...args) => {
  const w = words[language][key];
  return typeof w === 'function' ? w(...args) : w;
};

export const city = name => (language === 'zh' ? name : cities[name] || name);
export const action = type => (actions[type] || [String(type), String(type)])[language === 'zh' ? 1 : 0];
export const actionShort = type => (actions[type] || ['', '', '?', '?'])[language === 'zh' ? 3 : 2];
export const number = n => n.toLocaleString(language === 'zh' ? 'zh-CN' : 'en');

// translate puts words into everything that asks for them.
export function translate() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  document.title = t('title');
  for (const e of document.querySelectorAll('[data-t]')) e.textContent = t(e.dataset.t);
  for (const e of document.querySelectorAll('[data-label]')) e.setAttribute('aria-label', t(e.dataset.label));
  for (const b of document.querySelectorAll('[data-lang]')) b.setAttribute('aria-pressed', String(b.dataset.lang === language));
}
