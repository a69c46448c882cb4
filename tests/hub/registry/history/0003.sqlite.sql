BEGIN TRANSACTION;
CREATE TABLE agents (
	id VARCHAR(64) NOT NULL, 
	verifier BLOB NOT NULL, 
	mosquitto VARCHAR(300) NOT NULL, 
	enrolled_at BIGINT NOT NULL, 
	enrolled_by VARCHAR(200) NOT NULL, 
	revoked_at BIGINT, 
	session BIGINT NOT NULL, 
	ended_session BIGINT NOT NULL, 
	boot VARCHAR(26) NOT NULL, 
	agent_version VARCHAR(64) NOT NULL, 
	clock VARCHAR(16) NOT NULL, 
	heard_within_s BIGINT NOT NULL, 
	outbox VARCHAR(26) NOT NULL, 
	last_heard BIGINT, 
	state VARCHAR(16) NOT NULL, 
	reason VARCHAR(500) NOT NULL, 
	since BIGINT, 
	CONSTRAINT pk_agents PRIMARY KEY (id)
);
INSERT INTO "agents" VALUES('agent-1',X'A1EDDCBDBD2943021EA2DCA1D2691A57071DE20E41034E6B8E80FEFE314BD182','plain:a1eddcbdbd2943021ea2dca1d2691a57071de20e41034e6b8e80fefe314bd182',1795476672000,'test',NULL,1,0,'01M80T5JNV0000000000000000','','unsynced',30,'',1795476672000,'online','born',1795476672000);
INSERT INTO "agents" VALUES('agent-2',X'4C61B1710CA994480247AF3F15B368E6CA5F3B0796D8E26B4CCB5B95FDE7EAA9','plain:4c61b1710ca994480247af3f15b368e6ca5f3b0796d8e26b4ccb5b95fde7eaa9',1795476672000,'test',1795476672000,0,0,'','','',30,'',NULL,'offline','revoked',1795476672000);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE commands (
	id VARCHAR(26) NOT NULL, 
	"key" VARCHAR(71), 
	body_hash VARCHAR(71) NOT NULL, 
	agent VARCHAR(64) NOT NULL, 
	device VARCHAR(64) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	args JSON NOT NULL, 
	hazard VARCHAR(16) NOT NULL, 
	issuer VARCHAR(200) NOT NULL, 
	purpose VARCHAR(500) NOT NULL, 
	lease_s BIGINT, 
	configuration_version BIGINT, 
	timeout_s DOUBLE NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	issued_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	accepted_at BIGINT NOT NULL, 
	sent_at BIGINT, 
	received_at BIGINT, 
	started_at BIGINT, 
	finished_at BIGINT, 
	cancel_at BIGINT, 
	told_at BIGINT, 
	data JSON NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_commands PRIMARY KEY (id), 
	CONSTRAINT uq_commands_key UNIQUE ("key")
);
INSERT INTO "commands" VALUES('01M85BZKG0BFA3S9EQBRGF8VMA','5af72dcd13bf50bf1fa9c84eb9d705ae09db1f1a6d2c075c68469d564fc8a603','sha256:da68aae6a2214b3b80a86c2f838ce10314ee9720dd5ce29569f74eb4165ec05b','agent-1','lamp-1','switch','{"level": 100, "on": true}','none','token operator','',NULL,NULL,10.0,'sent',1795476672000,1795476732000,1795476672000,1795476672000,NULL,NULL,NULL,NULL,NULL,'{}','');
CREATE TABLE configuration_changes (
	id INTEGER NOT NULL, 
	device VARCHAR(64) NOT NULL, 
	at BIGINT NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	version BIGINT NOT NULL, 
	hash VARCHAR(71) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	document JSON NOT NULL, 
	errors JSON NOT NULL, 
	reason VARCHAR(500) NOT NULL, 
	who VARCHAR(200) NOT NULL, 
	CONSTRAINT pk_configuration_changes PRIMARY KEY (id)
);
INSERT INTO "configuration_changes" VALUES(1,'lamp-1',1795476672000,'set',1,'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d','','{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}','[]','','test');
INSERT INTO "configuration_changes" VALUES(2,'lamp-1',1795476672000,'reported',1,'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d','applied','{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}','[]','','');
CREATE TABLE configuration_desired (
	device VARCHAR(64) NOT NULL, 
	version BIGINT NOT NULL, 
	hash VARCHAR(71) NOT NULL, 
	document JSON NOT NULL, 
	issued_at BIGINT NOT NULL, 
	issued_by VARCHAR(200) NOT NULL, 
	answered BOOLEAN NOT NULL, 
	CONSTRAINT pk_configuration_desired PRIMARY KEY (device)
);
INSERT INTO "configuration_desired" VALUES('lamp-1',1,'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d','{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}',1795476672000,'test',1);
CREATE TABLE configuration_layers (
	layer VARCHAR(16) NOT NULL, 
	subject VARCHAR(64) NOT NULL, 
	document JSON NOT NULL, 
	changed_at BIGINT NOT NULL, 
	changed_by VARCHAR(200) NOT NULL, 
	CONSTRAINT pk_configuration_layers PRIMARY KEY (layer, subject)
);
INSERT INTO "configuration_layers" VALUES('device','lamp-1','{"interval_s": 5, "label": "\u8def\u706f"}',1795476672000,'test');
CREATE TABLE configuration_reported (
	device VARCHAR(64) NOT NULL, 
	version BIGINT NOT NULL, 
	hash VARCHAR(71) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	t BIGINT NOT NULL, 
	document JSON NOT NULL, 
	errors JSON NOT NULL, 
	reason VARCHAR(500) NOT NULL, 
	CONSTRAINT pk_configuration_reported PRIMARY KEY (device)
);
INSERT INTO "configuration_reported" VALUES('lamp-1',1,'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d','applied',1795476672000,'{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}','[]','');
CREATE TABLE console_sessions (
	hash VARCHAR(71) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	last_used_at BIGINT NOT NULL, 
	CONSTRAINT pk_console_sessions PRIMARY KEY (hash)
);
INSERT INTO "console_sessions" VALUES('13548da0a609b2dda30126bbb41ca4225592e16f2c732da69329521d49dcc0dd','Li Na','operator',1795476672000,1796081472000,1795476672000);
CREATE TABLE devices (
	id VARCHAR(64) NOT NULL, 
	agent VARCHAR(64) NOT NULL, 
	profile VARCHAR(64) NOT NULL, 
	first_seen BIGINT NOT NULL, 
	carried BOOLEAN NOT NULL, 
	interval_s DOUBLE, 
	CONSTRAINT pk_devices PRIMARY KEY (id), 
	CONSTRAINT fk_devices_agent FOREIGN KEY(agent) REFERENCES agents (id)
);
INSERT INTO "devices" VALUES('lamp-1','agent-1','lamp',1795476672000,1,NULL);
INSERT INTO "devices" VALUES('lamp-2','agent-1','lamp',1795476672000,1,NULL);
INSERT INTO "devices" VALUES('lamp-3','agent-1','lamp',1795476672000,1,NULL);
INSERT INTO "devices" VALUES('lamp-4','agent-1','lamp',1795476672000,1,NULL);
INSERT INTO "devices" VALUES('lamp-5','agent-1','lamp',1795476672000,1,NULL);
CREATE TABLE enrolment_codes (
	id VARCHAR(26) NOT NULL, 
	hash VARCHAR(71) NOT NULL, 
	agent VARCHAR(64), 
	note VARCHAR(200) NOT NULL, 
	uses_left BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by VARCHAR(200) NOT NULL, 
	CONSTRAINT pk_enrolment_codes PRIMARY KEY (id), 
	CONSTRAINT uq_enrolment_codes_hash UNIQUE (hash)
);
INSERT INTO "enrolment_codes" VALUES('01M85BZKG03Z9NAH40FFE61SQT','c7285c659fe15b1816dfdc6a91a8a356632112e39234c62588f0a1493d957584','agent-3','',1,1795563072000,1795476672000,'test');
CREATE TABLE met_lives (
	agent VARCHAR(64) NOT NULL, 
	outbox VARCHAR(26) NOT NULL, 
	life VARCHAR(26) NOT NULL, 
	met_at BIGINT NOT NULL, 
	CONSTRAINT pk_met_lives PRIMARY KEY (agent, outbox, life), 
	CONSTRAINT fk_met_lives_agent FOREIGN KEY(agent) REFERENCES agents (id)
);
INSERT INTO "met_lives" VALUES('agent-1','01M80T5JNV0000000000000001','01M80T5JNV0000000000000000',1795476672000);
CREATE TABLE refusals (
	who VARCHAR(100) NOT NULL, 
	why VARCHAR(64) NOT NULL, 
	detail VARCHAR(300) NOT NULL, 
	count BIGINT NOT NULL, 
	first_at BIGINT NOT NULL, 
	last_at BIGINT NOT NULL, 
	CONSTRAINT pk_refusals PRIMARY KEY (who, why)
);
INSERT INTO "refusals" VALUES('stranger','unknown_agent','MQTT from 127.0.0.1',1,1795476672000,1795476672000);
CREATE TABLE sign_in_links (
	hash VARCHAR(71) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by VARCHAR(200) NOT NULL, 
	expires_at BIGINT NOT NULL, 
	used_at BIGINT, 
	CONSTRAINT pk_sign_in_links PRIMARY KEY (hash)
);
INSERT INTO "sign_in_links" VALUES('bb7efeba90214f0abbae6900f73377bdbbec5fd451b7b28fd402e1546c33fcdd','Wang Wei','operator',1795476672000,'test',1795480272000,NULL);
INSERT INTO "sign_in_links" VALUES('96b35445614dc13b44057c00090ae3f7d0e209e3878c9094fa1d78dabc607e21','Li Na','operator',1795476672000,'test',1795480272000,1795476672000);
CREATE TABLE tokens (
	id VARCHAR(26) NOT NULL, 
	hash VARCHAR(71) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by VARCHAR(200) NOT NULL, 
	expires_at BIGINT, 
	last_used_at BIGINT, 
	CONSTRAINT pk_tokens PRIMARY KEY (id), 
	CONSTRAINT uq_tokens_hash UNIQUE (hash)
);
INSERT INTO "tokens" VALUES('01M85BZKG0P6DWSX4GXM68531B','7375724988945f192c3161cee2f20deb6a89a8330af15f857a81e08eadd776b0','test administrator','administrator',1795476672000,'test',NULL,NULL);
CREATE INDEX ix_enrolment_codes_expires_at ON enrolment_codes (expires_at);
CREATE INDEX ix_sign_in_links_expires_at ON sign_in_links (expires_at);
CREATE INDEX ix_console_sessions_expires_at ON console_sessions (expires_at);
CREATE INDEX ix_configuration_desired_answered ON configuration_desired (answered);
CREATE INDEX ix_configuration_changes_device_id ON configuration_changes (device, id);
CREATE INDEX ix_commands_state_id ON commands (state, id);
CREATE INDEX ix_commands_agent_id ON commands (agent, id);
CREATE INDEX ix_commands_device_id ON commands (device, id);
CREATE INDEX ix_commands_finished_at ON commands (finished_at);
CREATE INDEX ix_devices_profile ON devices (profile);
CREATE INDEX ix_devices_agent ON devices (agent);
COMMIT;
